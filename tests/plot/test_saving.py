from __future__ import annotations

import errno
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from isoklx.errors import BuildError, UsageError
from isoklx.plot.figure1 import figure1
from isoklx.plot.saving import save, style
from isoklx.plot.survival import survival

START = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def drawn() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 3, 2])
    return figure


def test_each_format_is_written_under_its_suffix(tmp_path: Path) -> None:
    folder = tmp_path / "figs" / "new"
    paths = save(drawn(), folder, "curve", ("png", "pdf", "svg"))
    assert paths == [folder / "curve.png", folder / "curve.pdf", folder / "curve.svg"]
    assert all(path.read_bytes().startswith(START[path.suffix[1:]]) for path in paths)
    assert sorted(folder.iterdir()) == sorted(paths)


def test_a_grid_is_saved_like_its_figure(tmp_path: Path, sample_ds: xr.Dataset) -> None:
    (path,) = save(survival(sample_ds), tmp_path, "survival")
    assert path.stat().st_size > 10_000


def test_pixels_are_inches_times_dpi(tmp_path: Path) -> None:
    (path,) = save(drawn(), tmp_path, "curve", dpi=50)
    assert plt.imread(path).shape[:2] == (100, 150)
    (path,) = save(drawn(), tmp_path, "curve")
    assert plt.imread(path).shape[:2] == (400, 600)
    with mpl.rc_context({"savefig.dpi": 30}):
        (path,) = save(drawn(), tmp_path, "curve")
    assert plt.imread(path).shape[:2] == (60, 90)


def test_the_same_figure_makes_the_same_bytes(tmp_path: Path) -> None:
    formats = ("png", "pdf", "svg")
    once, again = (
        [path.read_bytes() for path in save(drawn(), tmp_path / name, "curve", formats)]
        for name in ("once", "again")
    )
    assert once == again


def test_a_vector_file_has_rasterised_lines_and_vector_text(
    tmp_path: Path, sample_ds: xr.Dataset
) -> None:
    grid = figure1(sample_ds, kind="spaghetti", alphas=[1.0])
    (path,) = save(grid, tmp_path, "spaghetti", ("svg",))
    text = path.read_text()
    assert "<image" in text
    assert "<!-- KL (nats) -->" in text


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (path,) = save(drawn(), tmp_path, "curve")
    before = path.read_bytes()

    def fail(self: Figure, partial: Path, **_: object) -> None:
        partial.write_bytes(b"half")
        raise error

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(BuildError, match=r"curve\.png: cannot be written"):
        save(drawn(), tmp_path, "curve")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "figs").write_text("")
    with pytest.raises(BuildError, match="figs: cannot create the folder"):
        save(drawn(), tmp_path / "figs", "curve")


def test_bad_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"format must be one of png, pdf, svg, got 'bmp'"):
        save(drawn(), tmp_path / "figs", "curve", ("png", "bmp"))  # type: ignore[arg-type]
    for dpi in (0, -1, 1e6, np.nan):
        with pytest.raises(UsageError, match="dpi must be"):
            save(drawn(), tmp_path / "figs", "curve", dpi=dpi)
    assert not (tmp_path / "figs").exists()


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="dpi must be at most 1638 for a figure of 40 inches, got 2000"
    ):
        save(Figure(figsize=(40, 2)), tmp_path / "figs", "wide", dpi=2000)
    assert not (tmp_path / "figs").exists()


@pytest.mark.parametrize("name", ["ggplot", "default", "dark_background"])
def test_a_style_may_be_built_into_matplotlib(name: str) -> None:
    before = dict(mpl.rcParams)
    with style(name), mpl.rc_context():
        mpl.style.use(name)
        wanted = dict(mpl.rcParams)
    with style(name):
        assert dict(mpl.rcParams) == wanted
    assert dict(mpl.rcParams) == before


def test_an_unknown_style_suggests_the_closest_name() -> None:
    with (
        pytest.raises(UsageError, match=r"ggplto: not a style sheet, .*; did you mean ggplot\?"),
        style("ggplto"),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"not a style sheet, .*; available: Solarize_Light2, "),
        style("qqqqqqqq"),
    ):
        pass


def test_a_style_applies_only_inside_the_context(tmp_path: Path) -> None:
    sheet = tmp_path / "wide.mplstyle"
    sheet.write_text("lines.linewidth: 7\nbackend: pdf\n")
    before = mpl.rcParams["lines.linewidth"], mpl.get_backend()
    with style(sheet):
        assert (mpl.rcParams["lines.linewidth"], mpl.get_backend()) == (7, before[1])
    assert (mpl.rcParams["lines.linewidth"], mpl.get_backend()) == before
    with style(None):
        assert mpl.rcParams["lines.linewidth"] == before[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"lines.linewidth: 2\nlines.breadth: 3\n", "line 2"),
        (b"lines.linewidth: broad\n", "line 1"),
        (b"a letter to a friend\n", "line 1"),
        (b"# nothing but words\n", "sets no parameters"),
        (b"", "sets no parameters"),
        (b"\x89PNG\xff\x00", "not text"),
        (None, "style file not found"),
    ],
)
def test_an_invalid_style_sheet_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    sheet = tmp_path / "sheet.mplstyle"
    if content is not None:
        sheet.write_bytes(content)
    with pytest.raises(UsageError) as refusal, style(sheet):
        pass
    assert str(refusal.value).startswith(f"{sheet}: ")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
