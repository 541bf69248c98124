"""The built file in tools that know nothing of the project."""

import shutil
import subprocess

import h5py
import pytest
from compliance_checker.runner import CheckSuite, ComplianceChecker

import isoklx
from isoklx import schema


@pytest.fixture(scope="module")
def file(sample, tmp_path_factory):
    return isoklx.build(sample, tmp_path_factory.mktemp("built") / "sample.nc").out


def run(tool, *words):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([tool, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def expected(sample):
    return isoklx.open_sweep(sample)


@pytest.mark.parametrize("calibrated_only", [False, True])
@pytest.mark.filterwarnings("ignore")  # the checker's own
def test_the_cf_checker_finds_no_error(file, calibrated_only, tmp_path):
    if calibrated_only:
        from tests.handmade import make_cell

        make_cell(tmp_path / "root")
        file = isoklx.build(tmp_path / "root").out
    CheckSuite.load_all_available_checkers()
    passed, errors = ComplianceChecker.run_checker(
        str(file),
        ["cf:1.11"],
        verbose=0,
        criteria="normal",
        output_filename=str(tmp_path / "report.txt"),
    )
    assert passed, (tmp_path / "report.txt").read_text()
    assert not errors


def test_ncdump_shows_names_units_and_comments(file):
    header = run("ncdump", "-h", str(file)).replace("\\'", "'")
    for name, var in schema.VARIABLES.items():
        assert f" {name}({', '.join(var.dims)}) ;" in header
        if var.units:
            assert f'{name}:units = "{var.units}" ;' in header
        assert f'{name}:long_name = "{var.long_name}" ;' in header
    assert "int gen_len(cell, alpha, prompt)" in header
    assert "gen_len:_FillValue = -1 ;" in header
    assert "In nats; dimensionless" in header
    assert 'run_id:cf_role = "timeseries_id"' in header


def test_h5py_reads_numbers_and_text(file, expected):
    with h5py.File(file) as h5:
        assert [name.decode() for name in h5["run_id"]] == expected.run_id.values.tolist()
        assert h5["kl"][0, 2, 3, 4] == expected.kl[0, 2, 3, 4]


def test_nco_reads_numbers_and_text(file, expected):
    where = ["-d", "cell,0", "-d", "alpha,2", "-d", "prompt,3", "-d", "token,4"]
    text = run("ncks", "-H", "-C", "-s", "%.9g", "-v", "kl", *where, str(file))
    assert float(text.split()[0]) == pytest.approx(expected.kl[0, 2, 3, 4].item(), rel=1e-7)
    assert str(expected.run_id[0].values) in run("ncks", "-C", "-v", "run_id", str(file))


def test_r_reads_numbers_and_text(file, expected):
    script = (
        "suppressMessages(library(ncdf4)); f <- nc_open(commandArgs(TRUE)[1]);"
        "cat(ncvar_get(f, 'run_id')[1], sprintf('%.9g', ncvar_get(f, 'kl')[5, 4, 3, 1]))"
    )
    if "TRUE" not in run("Rscript", "-e", "cat(requireNamespace('ncdf4', quietly = TRUE))"):
        pytest.skip("R's ncdf4 is not installed")
    run_id, number = run("Rscript", "-e", script, str(file)).split()
    assert run_id == expected.run_id[0].item()
    assert float(number) == pytest.approx(expected.kl[0, 2, 3, 4].item(), rel=1e-7)
