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
    out = tmp_path_factory.mktemp("built") / "sample.nc"
    return isoklx.build(sample, out, texts=True).out


def run(tool, *words):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([tool, *words], check=True, capture_output=True, text=True).stdout


def r(package, script, file):
    """What a script of R prints, once it has attached the package; the file is `file` there."""
    known = run("Rscript", "-e", f"cat(requireNamespace('{package}', quietly = TRUE))")
    if "TRUE" not in known:
        pytest.skip(f"R's {package} is not installed")
    attached = f"suppressMessages(library({package})); file <- commandArgs(TRUE)[1];"
    return run("Rscript", "-e", attached + script, str(file))


@pytest.fixture(scope="module")
def expected(file):
    return isoklx.open_sweep(file).load()


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


def test_h5py_reads_numbers_texts_and_flags(file, expected):
    with h5py.File(file) as h5:
        assert h5["run_id"].asstr()[:].tolist() == expected.run_id.values.tolist()
        assert h5["kl"][0, 2, 3, 4] == expected.kl[0, 2, 3, 4]
        assert h5["gen_text"].asstr()[0, 2, 3] == expected.gen_text[0, 2, 3].item()
        assert h5["unpaired"].attrs["flag_meanings"].decode().split() == ["paired", "unpaired"]
        assert (h5["unpaired"][:] == expected.unpaired.values).all()


def test_nco_reads_numbers_texts_and_flags(file, expected):
    where = ["-d", "cell,0", "-d", "alpha,2", "-d", "prompt,3"]
    number = ["-s", "%.9g", "-v", "kl", *where, "-d", "token,4"]
    text = run("ncks", "-H", "-C", *number, str(file))
    assert float(text.split()[0]) == pytest.approx(expected.kl[0, 2, 3, 4].item(), rel=1e-7)
    assert str(expected.run_id[0].values) in run("ncks", "-C", "-v", "run_id", str(file))
    said = run("ncks", "-H", "-C", "-s", "%s", "-v", "gen_text", *where, str(file))
    assert said.strip() == expected.gen_text[0, 2, 3].item()
    flag = run("ncks", "-H", "-C", "-s", "%d", "-v", "has_kl", "-d", "cell,0", str(file))
    assert int(flag) == expected.has_kl[0].item() == 1


def test_cdo_reads_what_has_at_most_three_dimensions(file, expected, tmp_path):
    c_star = run("cdo", "-s", "output", "-selname,c_star", str(file)).split()
    assert list(map(float, c_star)) == pytest.approx(expected.c_star.values, rel=1e-5)
    one = tmp_path / "kl.nc"
    run(
        "ncwa",
        "-C",
        "-v",
        "kl",
        "-a",
        "cell,alpha",
        "-d",
        "cell,0",
        "-d",
        "alpha,2",
        str(file),
        str(one),
    )
    kl = expected.kl[0, 2]
    line = run("cdo", "-s", "infon", str(one)).splitlines()[1].split()
    missing, minimum, mean, maximum = int(line[6]), *map(float, line[8:11])
    assert missing == kl.isnull().sum()
    assert (minimum, mean, maximum) == pytest.approx(
        (kl.min().item(), kl.mean().item(), kl.max().item()), rel=1e-4
    )


def test_r_ncdf4_reads_numbers_texts_and_flags(file, expected):
    script = """
        f <- nc_open(file)
        cat(ncvar_get(f, "run_id")[1], sprintf("%.9g", ncvar_get(f, "kl")[5, 4, 3, 1]),
            ncvar_get(f, "gen_text")[4, 3, 1], ncvar_get(f, "has_kl")[1],
            ncatt_get(f, "has_kl", "flag_meanings")$value, sep = "\\n")
    """
    run_id, number, said, flag, meanings = r("ncdf4", script, file).splitlines()
    assert run_id == expected.run_id[0].item()
    assert float(number) == pytest.approx(expected.kl[0, 2, 3, 4].item(), rel=1e-7)
    assert said == expected.gen_text[0, 2, 3].item()
    assert meanings.split()[int(flag)] == "present"


def test_r_stars_reads_numbers_and_their_coordinates(file, expected):
    script = """
        kl <- suppressWarnings(read_ncdf(file, var = "kl"))
        cat(names(dim(kl)), "\\n", st_get_dimension_values(kl, "alpha"), "\\n",
            sprintf("%.9g", kl$kl[5, 4, 3, 1]))
    """
    dims, alphas, number = r("stars", script, file).splitlines()[-3:]
    assert tuple(dims.split()) == expected.kl.dims[::-1]
    assert list(map(float, alphas.split())) == expected.alpha.values.tolist()
    assert float(number) == pytest.approx(expected.kl[0, 2, 3, 4].item(), rel=1e-7)
