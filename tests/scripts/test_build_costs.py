import sys

import pytest

from scripts.build_costs import HEADINGS, Size, measure_tree, rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_every_column_of_a_size_is_measured(tmp_path):
    (row,) = rows(tmp_path, [Size(3, 2, 8)], repeat=1)
    assert len(row) == len(HEADINGS)
    assert row[:2] == ("3", "8 x 2 x 8")


def test_memory_is_that_of_the_process_and_all_it_started():
    hold = "import time; held = b'x' * (80 * 2**20); time.sleep(0.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}]); {hold}"
    assert measure_tree([sys.executable, "-c", hold]).peak < 130
    assert measure_tree([sys.executable, "-c", start]).peak > 80
