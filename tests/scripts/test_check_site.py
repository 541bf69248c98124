from pathlib import Path

import pytest

from scripts.check_site import findings


def site(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return folder


def test_a_site_whose_links_all_lead_somewhere_has_no_finding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    whole = '<h1 id="top">A</h1><a href="two.html#end">on</a><a href="#top">up</a>'
    picture = '<img src="a.png" alt="What it shows."><a href="https://example.org">out</a>'
    assert findings(site(tmp_path, one=whole + picture, two='<p id="end">')) == []


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ('<a href="gone.html">', "leads nowhere: gone.html"),
        ('<a href="#gone">', "leads to no place of that page: #gone"),
        ('<a href="two.html#gone">', "leads to no place of that page: two.html#gone"),
        ('<img src="a.png">', "a picture without words: a.png"),
        ('<img src="a.png" alt="images/a.png">', "a picture without words: a.png"),
        ('<img src="b.png" alt="B.">', "is not there: b.png"),
        ('<script src="https://cdn.example/x.js">', "comes over the network: https://cdn.ex"),
        ('<link href="//cdn.example/x.css">', "comes over the network: //cdn.example/x.css"),
    ],
)
def test_what_is_wrong_is_named_with_its_page(tmp_path: Path, body: str, finding: str) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    [found] = findings(site(tmp_path, one=body, two=""))
    assert found.startswith(f"one.html: {finding}")


def test_a_folder_without_a_page_is_no_site(tmp_path: Path) -> None:
    assert findings(tmp_path) == [f"{tmp_path}: no page"]


@pytest.mark.parametrize(
    "style", ["@import 'https://cdn.example/x.css';", "a { src: url(//cdn.example/font.woff2) }"]
)
def test_a_style_that_fetches_is_named(tmp_path: Path, style: str) -> None:
    (tmp_path / "own.css").write_text("b { background: url(picture.png) } " + style)
    [found] = findings(site(tmp_path, one=""))
    assert found.startswith("own.css: comes over the network: ")
    assert "//cdn.example/" in found
