#!/usr/bin/env bash
# Run the tests with the oldest dependencies that setup.cfg allows, those of the extras included, on
# the oldest Python.
set -euo pipefail
cd "$(dirname "$0")/.."

oldest=$(mktemp -d)
trap 'rm -rf "$oldest"' EXIT

python3.11 - >"$oldest/constraints.txt" <<'END'
import configparser
import re

setup = configparser.ConfigParser()
setup.read("setup.cfg")
asked = [setup["options"]["install_requires"]]
asked += [text for name, text in setup["options.extras_require"].items() if name != "test"]
for line in sorted({line for text in asked for line in text.split()}):
    print(re.sub(r"\[.*\]", "", line).replace(">=", "=="))
END
cat "$oldest/constraints.txt"

python3.11 -m venv "$oldest/venv"
"$oldest/venv/bin/pip" install --quiet --constraint "$oldest/constraints.txt" -e '.[test]'

# Examples in docstrings are left out: numpy 2 spells a scalar in another way than numpy 1. Warnings
# are no errors where an old package uses what its own dependencies have deprecated since, or where a
# wheel that serves numpy 1 and 2 gives a warning that numpy itself tells Python to ignore.
tested() {
    "$oldest/venv/bin/python" -m pytest -n auto -p no:cacheprovider \
        -W "ignore::DeprecationWarning" -W "ignore:numpy.ndarray size changed:RuntimeWarning" "$@"
}

tested tests "$@"

# The oldest torch brings gigabytes of CUDA.
"$oldest/venv/bin/pip" install --quiet --constraint "$oldest/constraints.txt" -e '.[test,run]'
OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 tested tests/engine tests/models tests/cli/test_measuring.py "$@"
