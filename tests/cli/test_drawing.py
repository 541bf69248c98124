import inspect
from dataclasses import fields

import matplotlib.pyplot as plt
import pytest

import isoklx.plot
from isoklx.cli.drawing import Panels, Saving, draw, draw_figure1
from isoklx.cli.options import Scope, select_model_and_side
from isoklx.cli.outputs import Target
from isoklx.errors import UsageError


def test_figure_1_options_match_the_function_and_its_defaults():
    parameters = inspect.signature(isoklx.plot.figure1).parameters
    for option in [*fields(Panels), *fields(Scope)]:
        if option.name not in ("model_contains", "sign"):
            assert parameters[option.name].default == option.default


def test_figures_are_closed_after_writing(tmp_path):
    written = draw("a", Target(tmp_path / "new"), Saving(("png", "svg")), lambda: plt.subplots()[0])
    assert [path.name for path in written] == ["a.png", "a.svg"]
    assert not plt.get_fignums()


def test_style_sheet_is_applied_to_the_figure(tmp_path):
    (tmp_path / "wide.mplstyle").write_text("figure.figsize: 7, 1\n")
    seen = []

    def make():
        figure, _ = plt.subplots()
        seen.append(figure.get_size_inches().tolist())
        return figure

    draw("a", Target(tmp_path), Saving(mplstyle=str(tmp_path / "wide.mplstyle")), make)
    assert seen == [[7.0, 1.0]]


@pytest.mark.parametrize(
    ("width", "said"),
    [("column", "the figure is 9.5 inches high, a page 9: a larger --width or fewer"), (None, "")],
)
def test_figure_higher_than_a_page_is_reported(tmp_path, capsys, width, said):
    draw("a", Target(tmp_path), Saving(width=width), lambda: plt.figure(figsize=(3.3, 9.5)))
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == bool(said)


def test_options_are_passed_to_figure_1(sample_ds, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "isoklx.plot.figure1",
        lambda ds, **options: seen.update(options, n=ds.sizes["cell"]) or plt.figure(),
    )
    scope = Scope(window=64, model_contains="1B", alphas=(1.0,))
    draw_figure1(sample_ds, Target(tmp_path), scope, Panels(kind="fan", roll=9, mark_t=3), Saving())
    assert seen["n"] == 6
    assert (seen["window"], seen["alphas"]) == (64, (1.0,))
    assert (seen["kind"], seen["roll"], seen["mark_t"]) == ("fan", 9, 3)


def test_unknown_model_error_lists_available_models(sample_ds):
    with pytest.raises(UsageError, match="'huge'; available: example/simulated-1B, example/sim"):
        select_model_and_side(sample_ds, Scope(model_contains="huge"))


def test_unknown_side_error_lists_available_sides(sample_ds):
    with pytest.raises(UsageError, match=r"sign '-' not found; available: \+"):
        select_model_and_side(sample_ds, Scope(sign="-"))
