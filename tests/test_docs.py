"""The site builds without a warning, has an entry for each public name, and loads nothing from the network."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import FunctionType
from urllib.parse import unquote, urlsplit

import pytest

import dgnb

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """The anchors, loaded files and links of a built page, and its text outside of code."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.prose = ""
        self._within: list[bool] = []  # for each open element, whether its text is prose
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        classes = set(said.get("class", "").split())
        self.tags |= {tag, *(f".{name}" for name in classes)}
        self.ids |= {said["id"]} if "id" in said else set()
        self.loads += [value for name, value in said.items() if (tag, name) in LOADED]
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", said.get("style", ""))
        self.links += [said["href"]] if tag == "a" and "href" in said else []
        if tag not in VOID:
            code = tag in {"code", "pre", "script", "style"} or classes & {"output", "doc-section-title"}
            inside = self._within[-1] if self._within else False
            self._within.append((inside or tag == "article") and not code)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if self._within and self._within[-1]:
            self.prose += data


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "EXECUTE": ""}
    command = [sys.executable, "-m", "mkdocs", "build", "-f", "docs/mkdocs.yml", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return {path: Page(path) for path in sorted(folder.rglob("*.html"))}


def ids(site: dict[Path, Page]) -> set[str]:
    return set().union(*(page.ids for page in site.values()))


def test_every_public_name_has_an_entry(site: dict[Path, Page]) -> None:
    wanted = {f"dgnb.{name}" for name in dgnb.__all__}
    for room in ("exports", "loopback", "messages", "plots", "samples", "tables"):
        wanted |= {f"dgnb.{room}.{name}" for name in getattr(dgnb, room).__all__}
    for name in ("Connection", "LiveOptions", "LiveSession", "Transcript"):
        for member, thing in vars(getattr(dgnb, name)).items():
            if not member.startswith("_") and isinstance(thing, FunctionType | property | classmethod):
                wanted.add(f"dgnb.{name}.{member}")
    missing = wanted - ids(site)
    assert not missing


def test_every_option_and_every_notebook_is_shown(site: dict[Path, Page]) -> None:
    assert {f"option-{field.name}" for field in dataclasses.fields(dgnb.LiveOptions)} <= ids(site)
    assert {path.stem for path in NOTEBOOKS} == {path.stem for path in site if path.parent.name == "notebooks"}


def test_no_page_loads_anything_from_elsewhere(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert not [address for address in page.loads if urlsplit(address).netloc], path
        # For diagrams the theme would load a script from the network.
        assert ".mermaid" not in page.tags
    folder = next(iter(site)).parent
    for sheet in folder.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_internal_link_has_a_target(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        if path.name == "404.html":  # its links start at the root of the site
            continue
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in site[target].ids, f"{path.name}: {link}"


def test_no_markup_is_left_raw(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        raw = re.findall(r".*(?:`|\]\(|\*\*|>>>|::: |(?:Args|Attributes|Raises|Returns|Yields|Example):).*", page.prose)
        assert not raw, path
        # A doctest must not become a quotation.
        assert path.parent.name != "reference" or "blockquote" not in page.tags
