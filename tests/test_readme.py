"""What the README promises: its commands, its length, its links, why each dependency is there."""

import configparser
import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()


def test_it_is_a_screenful_and_a_half():
    assert len(README.splitlines()) <= 130


def test_it_has_exactly_two_commands_for_a_fresh_machine():
    assert len(re.findall(r"^python3\.11 -m venv", README, flags=re.MULTILINE)) == 2


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (PROJECT / link).is_file()] == []


def test_every_page_of_the_documentation_is_linked_or_in_the_contents_of_the_site():
    """The rest is generated, and found by `docs/index.md`."""
    unlinked = {"docs/index.md", "docs/commands.md"}
    pages = {str(path.relative_to(PROJECT)) for path in (PROJECT / "docs").glob("**/*.md")}
    pages = {page for page in pages if not page.startswith(("docs/api/", "docs/_build/"))}
    assert pages - unlinked == set(re.findall(r"\((docs/[^)]+\.md)\)", README))


def test_every_dependency_has_a_line_that_says_why():
    setup = configparser.ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    needed = re.findall(r"^[\w-]+", setup["options"]["install_requires"], flags=re.MULTILINE)
    assert set(re.findall(r"^\| (\w+) \| \S", README, flags=re.MULTILINE)) >= {*needed}
