import html.parser
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot import text
from tests.handmade import kl, make_cell, write

CELL = "simulated-1B_pca_s0_w64"


class Reader(html.parser.HTMLParser):
    """Parse HTML as a browser does: elements, their styles, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.spans, self.said = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "span":
            self.spans.append([dict(attrs), ""])

    def handle_data(self, data):
        self.said += data
        if self.tags and self.tags[-1] == "span" and self.spans:
            self.spans[-1][1] += data


def root_of(folder, tokens, row, **more):
    pmass = {"fork_points": [0, 2], "pmass_eval": {"1": [[0.9, 0.3]]}}
    cell = make_cell(folder, trajectory=kl({"1": [row]}), pmass=pmass)
    line = {
        "kind": "eval",
        "alpha": 1,
        "prompt_idx": 0,
        "prompt": "Why?",
        "gen_text": "".join(tokens),
    }
    write(cell / "gens.jsonl", json.dumps({**line, "tokens": tokens, **more}))
    return folder


def opacity(span):
    return float(span[0]["style"].split("rgba(213,94,0,")[1].split(")")[0])


def test_each_token_is_shaded_by_its_kl(tmp_path):
    root = root_of(tmp_path, ["So", " it", " is"], [0.0, 1.5, 9.0])
    read = Reader(text(root, "tiny_pca_s0_w4", 1, 0).html)
    assert [said for _, said in read.spans] == ["So", " it", " is"]
    assert [opacity(span) for span in read.spans] == [0, 0.3, 0.6]  # sqrt(KL / 6 targets), of 0.6
    assert read.spans[1][0]["title"] == "token 1, KL 1.5"


def test_the_margin_gives_pmass_at_each_fork_and_the_death(tmp_path):
    shown = text(root_of(tmp_path, ["a", "b", "c"], [0, 0, 0]), "tiny_pca_s0_w4", 1, 0)
    said = Reader(shown.html).said
    assert "token 0: pmass 0.9" in said
    assert "token 2: pmass 0.3, died" in said
    assert str(shown).startswith(
        "tiny_pca_s0_w4, alpha 1, prompt 0: 3 tokens, died at token 2\nabc"
    )
    assert "Why?" in said


def test_a_text_without_recorded_tokens_is_shown_whole(tmp_path):
    root = root_of(tmp_path, [], [0, 0], gen_text="No tokens here.")
    read = Reader(text(root, "tiny_pca_s0_w4", 1, 0).html)
    assert read.spans == []
    assert "No tokens here." in read.said
    assert "not shaded" in read.said


HARMLESS = {"div", "p", "b", "span", "sup", "ol", "li"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.text(min_size=1) | st.sampled_from(["<script>", "</div>", "'", '"', "\u202e", "&lt;"]),
        min_size=1,
        max_size=4,
    )
)
def test_any_generated_text_is_escaped(tmp_path_factory, tokens):
    tokens = [token.encode("utf-8", "ignore").decode() or "x" for token in tokens]
    root = root_of(tmp_path_factory.mktemp("root"), tokens, [0.5] * len(tokens), prompt=tokens[0])
    read = Reader(text(root, "tiny_pca_s0_w4", 1, 0).html)
    assert set(read.tags) <= HARMLESS
    assert not {"\u202e", "\0", "\x1b"} & set(read.said)
    for span, _ in read.spans:
        assert set(span) == {"title", "style"}


def test_a_file_and_its_root_give_the_same_text(sample, tmp_path):
    out = isoklx.build(sample, tmp_path / "sample.nc", texts=True).out
    with isoklx.open_sweep(out) as ds:
        assert text(ds, CELL, 2, 3) == text(sample, CELL, 2, 3) == text(out, CELL, 2, 3)
        assert text(isoklx.select(ds, run_id=CELL), CELL, 2, 3) == text(ds, CELL, 2, 3)


def test_missing_texts_and_prompts_are_named(sample, sample_ds, tmp_path):
    with pytest.raises(DatasetError, match="lacks texts: build it with texts=True"):
        text(sample_ds, CELL, 2, 0)
    with pytest.raises(UsageError, match="prompt 99 not found"):
        text(sample, CELL, 2, 99)
    root = root_of(tmp_path, ["a"], [0], gen_text="")
    with pytest.raises(DatasetError, match="no text recorded at alpha 1, prompt 0"):
        text(root, "tiny_pca_s0_w4", 1, 0)
