"""Settings of two measurements of a cell."""

import json

import numpy as np
import pytest

from isoklx.tables.changed_settings import CellSettings, changed_settings, same_prompts
from tests.small_sweeps import small_sweep

OLD, NEW = "ab" * 32, "cd" * 32


def sweep(n_prompt=3, recorded=None, texts=None, **values):
    ds = small_sweep([[[[0.9, 0.8]] * n_prompt] * 2], fork=[0, 8])
    ds = ds.assign(
        target_kl=("cell", [values.get("target_kl", 1.0)]),
        measured_with=("cell", ["" if recorded is None else json.dumps(recorded)]),
    )
    if texts is not None:
        ds = ds.assign(prompt_text=(("cell", "prompt"), [texts]))
    return ds


def changes(a, b):
    return changed_settings(CellSettings(a), 0, CellSettings(b), 0)


def test_differing_settings_have_both_values():
    other = sweep(n_prompt=2, target_kl=1.5).assign(target_stat=("cell", ["rms"]))
    other = other.assign_coords(
        layer=("cell", [4]), model=("cell", ["/models/tiny"]), alpha=[0.0, 0.3], fork=[0, 7]
    )
    assert changes(sweep(), other) == {
        "model": ("org/tiny", "/models/tiny"),
        "layer": ("3", "4"),
        "target_kl": ("1", "1.5"),
        "target_stat": ("p95", "rms"),
        "doses": ("0, 1", "0, 0.3"),
        "prompts": ("3", "2"),
        "forks": ("0, 8", "0, 7"),
    }
    assert changes(sweep(), sweep()) == {}


def test_doses_and_prompts_without_results_do_not_count():
    ds = sweep()
    ran = ds["gen_len"].where((ds["alpha"] == 1) & (ds["prompt"] < 2))
    part = ds.assign(gen_len=ran, pmass_eval=ds["pmass_eval"].where(ds["fork"] == 0))
    assert changes(ds, part) == {
        "doses": ("0, 1", "1"),
        "prompts": ("3", "2"),
        "forks": ("0, 8", "0"),
    }


def test_measured_with_is_compared_value_by_value():
    a = sweep(recorded={"torch": "2.4", "batch": 8, "sha256": {"prompts": OLD, "pairs": OLD}})
    b = sweep(recorded={"torch": "2.5", "padded": True, "sha256": {"prompts": NEW, "pairs": OLD}})
    assert changes(a, b) == {
        "torch": ("2.4", "2.5"),
        "batch": ("8", "not recorded"),
        "sha256.prompts": (OLD, NEW),
        "padded": ("not recorded", "true"),
    }


def test_measured_with_of_one_cell_only_is_one_change():
    recorded = sweep(recorded={"torch": "2.4", "batch": 8})
    assert changes(sweep(), recorded) == {"measured_with": ("not recorded", "recorded")}
    assert changes(recorded, sweep()) == {"measured_with": ("recorded", "not recorded")}


def test_identities_are_named_in_words():
    then = {"weights": "sha256:1", "chat_template": "none", "prompt_ids": "sha256:2"}
    now = {"weights": "sha256:1", "chat_template": "sha256:3", "prompt_ids": "sha256:4"}
    a, b = sweep(recorded={"identity": then}), sweep(recorded={"identity": now})
    assert changes(a, b) == {
        "chat template": ("none", "sha256:3"),
        "prompt ids": ("sha256:2", "sha256:4"),
    }


def test_identities_of_one_cell_only_are_one_change():
    identity = {"weights": "sha256:1", "chat_template": "none"}
    a, b = sweep(recorded={"torch": "2"}), sweep(recorded={"torch": "2", "identity": identity})
    assert changes(a, b) == {"identity": ("not recorded", "recorded")}
    assert changes(b, a) == {"identity": ("recorded", "not recorded")}


def test_settings_shown_by_the_numbers_are_listed_once():
    a, b = sweep(recorded={"forks": [0, 8]}), sweep(recorded={"forks": [0, 8, 16]})
    assert changes(a, b) == {}


def test_long_lists_are_shortened():
    many = np.arange(40)
    ds = small_sweep(np.full((1, 1, 1, 40), 0.9), fork=many).assign(target_kl=("cell", [1.0]))
    shown = CellSettings(ds).known(0)["forks"]
    assert shown.endswith("22, 23 and 16 more")


def evidence(a, b, metric="pmass_eval"):
    return same_prompts(metric, CellSettings(a), 0, CellSettings(b), 0)


def hashes(prompts, questions=OLD):
    return {"sha256": {"prompts": prompts, "questions": questions}}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({}, {}, "same number"),
        ({}, {"n_prompt": 2}, "different"),
        ({"texts": ["x", "y", "z"]}, {"texts": ["x", "y", "z"]}, "same texts"),
        ({"texts": ["x", "y", "z"]}, {"texts": ["x", "z", "y"]}, "different"),
        ({"texts": ["x", "y", "z"]}, {}, "same number"),
        ({"texts": ["x", "y", ""]}, {"texts": ["x", "y", "z"]}, "same number"),
        ({"recorded": hashes(OLD)}, {"recorded": hashes(OLD)}, "same hash"),
        ({"recorded": hashes(OLD)}, {"recorded": hashes(NEW)}, "different"),
        ({"recorded": hashes(OLD)}, {"recorded": {"torch": "2"}}, "same number"),
        ({"recorded": hashes(OLD), "n_prompt": 2}, {"recorded": hashes(OLD)}, "different"),
    ],
)
def test_prompts_are_compared_by_the_best_evidence(a, b, said):
    assert evidence(sweep(**a), sweep(**b)) == said
    assert evidence(sweep(**b), sweep(**a)) == said


def test_texts_take_precedence_over_the_file_hash():
    texts = {"texts": ["x", "y", "z"]}
    a, b = (sweep(recorded=hashes(each), **texts) for each in (OLD, NEW))
    assert evidence(a, b) == "same texts"


def test_questions_are_compared_by_their_own_hash():
    asked = [
        sweep(recorded=hashes(each, questions)).drop_dims("question")
        for each, questions in ((OLD, OLD), (NEW, OLD), (OLD, NEW))
    ]
    length = np.full((1, 2, 4), 8.0)
    asked = [
        ds.assign(gen_len_qa=(("cell", "alpha", "question"), length)).assign_coords(
            question=np.arange(4)
        )
        for ds in asked
    ]
    assert evidence(asked[0], asked[1], "pmass") == "same hash"
    assert evidence(asked[0], asked[2], "pmass") == "different"
    assert evidence(sweep(), sweep(), "pmass") == "none"
