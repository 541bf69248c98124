import numpy as np

from isoklx.tables import captioned as captioned_tables
from tests.small_sweeps import small_sweep


def test_captions_count_cells_and_distinct_cells(sample_ds):
    for table in (captioned_tables.headline, captioned_tables.calibration):
        expected = "Cells: 12, distinct: 10 (2 byte-identical duplicates)."
        assert expected in table(sample_ds).caption


def test_captions_of_a_single_cell(sample_ds):
    for table in (captioned_tables.headline, captioned_tables.calibration):
        assert "Cells: 1, distinct: 1." in table(sample_ds.isel(cell=0)).caption


def test_caption_counts_curves_that_end_before_the_horizon():
    whole, short = [[0.9, 0.9]] * 2, [[0.9, np.nan]] * 2
    ds = small_sweep([[whole, short, short]], fork=[0, 8], gen_len=[[[8, 8], [5, 5], [5, 5]]])
    caption = captioned_tables.survival(ds).caption
    assert "2 of 3 curves end before the horizon, at observed_to." in caption
    assert "horizon" not in captioned_tables.survival(ds, ended="alive").caption


def test_caption_names_pooled_windows():
    ds = small_sweep(np.full((3, 1, 2, 2), 0.9), fork=[0, 8], window=[8, 16, 8], method=list("aab"))
    sentence = "Windows of 8, 16 tokens are pooled; horizon is the largest observed at the dose."
    for by in (None, ["method"]):
        assert sentence in captioned_tables.survival(ds, by=by).caption
    for apart in (["window"], ["method", "window"]):
        assert "pooled" not in captioned_tables.survival(ds, by=apart).caption
    assert "pooled" not in captioned_tables.survival(ds.isel(cell=[1, 2]), by=["method"]).caption


def test_contrast_caption_counts_rows_of_unequal_kl(sample_ds):
    table = captioned_tables.contrast(sample_ds.sel(alpha=[1.0, 2.0]))
    rows = table.frame
    apart = (rows.first_kl_lower > rows.second_kl_upper) | (
        rows.second_kl_lower > rows.first_kl_upper
    )
    said = f"95% intervals do not overlap compare unequal KL: {apart.sum()} of 6."
    assert said in table.caption
    assert "first_kl" not in captioned_tables.contrast(sample_ds, by="alpha").caption


def test_caption_says_why_correct_is_missing(sample_ds):
    known = captioned_tables.response(sample_ds).caption
    assert "macro-averaged over true and false questions." in known
    unknown = captioned_tables.response(sample_ds.drop_vars("answer")).caption
    assert "missing because no answers are recorded." in unknown
