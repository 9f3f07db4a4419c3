"""The examples in the README and in the pages of the site run as written, on a server of this machine."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.loopback import Script

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs" / "pages").glob("*.md")))]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path)], ids=lambda path: path.stem)
async def test_every_example_runs_in_order(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("speech.wav", "talk.mp4"):
        (tmp_path / name).write_bytes(dgnb.samples.path().read_bytes())
    async with dgnb.loopback.serve(Script("one two three", repeat=True)) as server:
        monkeypatch.setenv("DGNB_ENDPOINT", server.url)
        names: dict[str, Any] = {}
        for block in blocks(path):
            # A station of this machine instead of one on the web, for 2 s; and a recording as fast as it goes.
            here = block.replace("https://example.org/radio.mp3", server.radio_url).replace("duration=30", "duration=2")
            await run(here.replace('"speech.wav", ', '"speech.wav", pace=None, '), names)
        if path.name == "README.md":
            assert "one" in names["transcript"].text
            assert (tmp_path / "speech.srt").read_text(encoding="utf-8").startswith("1\n")
            assert (tmp_path / "radio.srt").read_text(encoding="utf-8").startswith("1\n")


def test_its_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    assert len(commands) >= 3
    for verb in commands:
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb


def test_its_links_lead_to_files() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).is_file(), link
