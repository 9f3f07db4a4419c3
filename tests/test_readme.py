"""What the README shows runs as it stands there, on a server of this machine."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.loopback import Script

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.isawaitable(result):
        await result


@pytest.mark.filterwarnings("ignore:diarize")
async def test_every_block_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(BLOCKS) >= 4
    monkeypatch.chdir(tmp_path)
    (tmp_path / "speech.wav").write_bytes(dgnb.samples.path().read_bytes())
    async with dgnb.loopback.serve(Script("one two three", repeat=True)) as server:
        monkeypatch.setenv("DGNB_ENDPOINT", server.url)
        names: dict[str, Any] = {}
        for block in BLOCKS:
            # A station of this machine for the one on the web, and not so long; a recording at once.
            here = block.replace("https://example.org/radio.mp3", server.radio_url).replace("duration=30", "duration=2")
            await run(here.replace('"speech.wav", ', '"speech.wav", pace=None, '), names)
        assert "one" in names["transcript"].text
        assert (tmp_path / "radio.srt").read_text(encoding="utf-8").startswith("1\n")


def test_its_commands_are_there() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for verb in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{verb}:", makefile, flags=re.MULTILINE), verb
