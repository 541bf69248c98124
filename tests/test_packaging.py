"""What a package says of itself, in the places where it says it."""

import configparser
import re
from pathlib import Path

import isoklx

PROJECT = Path(__file__).resolve().parents[1]


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    return parser


def test_the_version_is_the_same_everywhere():
    cited = re.search(r"^version: (.+)$", (PROJECT / "CITATION.cff").read_text(), re.MULTILINE)
    logged = re.search(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited.group(1) == logged.group(1) == isoklx.__version__


def test_the_licence_is_the_same_everywhere():
    assert setup()["metadata"]["license"] == "Apache-2.0"
    assert "license: Apache-2.0" in (PROJECT / "CITATION.cff").read_text()
    assert (
        "Apache License\n                           Version 2.0"
        in (PROJECT / "LICENSE").read_text()
    )


def test_every_requirement_has_a_lower_bound_and_a_package_the_same_one_everywhere():
    parser = setup()
    asked = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    bounds: dict[str, set[str]] = {}
    for line in "\n".join(asked).split():
        name, _, bound = re.sub(r"\[.*\]", "", line).partition(">=")
        bounds.setdefault(name, set()).add(bound)
    assert {name: found for name, found in bounds.items() if found == {""} or len(found) > 1} == {}
