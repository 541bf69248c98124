"""Check the site that was built: that its links lead somewhere, and that nothing is fetched.

Every link within the site leads to a page and a place that there is, every picture says what it
shows, and no style, script or picture comes over a network:
``python scripts/check_site.py docs/_build/html``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that a browser fetches, by the attribute with the address."""

FETCHED_BY_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Page(HTMLParser):
    """Links, fetched files, pictures and anchors of a page."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    unsaid: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        known = {name: value or "" for name, value in attrs}
        self.places |= {known[name] for name in ("id", "name") if name in known}
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        if tag in FETCHED and FETCHED[tag] in known:
            self.fetched.append(known[FETCHED[tag]])
        if tag == "img" and _says_nothing(known.get("alt", "")):
            self.unsaid.append(known.get("src", ""))


def findings(site: Path) -> list[str]:
    """List the faults of the site in a folder, one line each.

    Parameters
    ----------
    site : Path
        Folder of the pages.

    Returns
    -------
    list of str
        By page; empty where nothing is.
    """
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site}: no page"]
    found = [
        f"{path.relative_to(site.resolve())}: {finding}"
        for path, page in pages.items()
        for finding in _findings(path, page, pages)
    ]
    styles = [(path, path.read_text()) for path in sorted(site.rglob("*.css"))]
    return found + [
        f"{path.relative_to(site)}: comes over the network: {url}"
        for path, text in styles
        for url in FETCHED_BY_STYLES.findall(text)
    ]


def _findings(path: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    found = [f"a picture without words: {src}" for src in page.unsaid]
    for url in dict.fromkeys(page.fetched):
        if urlsplit(url).scheme in ("http", "https") or url.startswith("//"):
            found.append(f"comes over the network: {url}")
        elif not urlsplit(url).scheme and not _target(path, url).exists():
            found.append(f"is not there: {url}")
    for url in dict.fromkeys(page.links):
        if urlsplit(url).scheme or url.startswith("//"):
            continue
        target, place = _target(path, url), unquote(urlsplit(url).fragment)
        if not target.exists():
            found.append(f"leads nowhere: {url}")
        elif place and target in pages and place not in pages[target].places:
            found.append(f"leads to no place of that page: {url}")
    return found


def _target(path: Path, url: str) -> Path:
    parts = unquote(urlsplit(url).path)
    return (path.parent / parts).resolve() if parts else path


def _says_nothing(alt: str) -> bool:
    """Return whether the alternative text of a picture is empty or its file name."""
    return not alt.strip() or Path(alt).suffix in (".png", ".svg")


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


if __name__ == "__main__":
    wrong = findings(Path(sys.argv[1]))
    print("\n".join(wrong) or "nothing to find fault with")
    sys.exit(bool(wrong))
