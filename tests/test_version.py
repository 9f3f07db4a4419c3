"""The version is that of the newest entry of the changelog."""

from __future__ import annotations

import datetime
import re
from importlib import metadata
from pathlib import Path

import pytest

import dgnb

HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


@pytest.fixture(scope="module")
def entries() -> list[tuple[str, str | None]]:
    changelog = Path(__file__).parent.parent / "CHANGELOG.md"
    found = HEADING.finditer(changelog.read_text(encoding="utf-8"))
    return [(match["version"], match["date"]) for match in found if match["version"] != "Unreleased"]


def test_the_version_is_that_of_the_newest_entry(entries: list[tuple[str, str | None]]) -> None:
    assert dgnb.__version__ == entries[0][0]


def test_every_entry_has_a_date_and_the_newest_is_first(entries: list[tuple[str, str | None]]) -> None:
    days = [datetime.date.fromisoformat(day or "") for _, day in entries]
    assert days == sorted(days, reverse=True)


def test_the_installed_package_has_the_same_version() -> None:
    assert metadata.version("dgnb") == dgnb.__version__
