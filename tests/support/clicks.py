"""What tests of the panel share: what its front end sends, and waiting until nothing of it runs."""

from __future__ import annotations

import asyncio
from typing import Any

from dgnb import ControlPanel, LiveSession, State
from tests.support.waiting import until


def busy() -> bool:
    """Whether a task of a panel runs."""
    return any(
        task.get_name() in ("dgnb: panel", "dgnb: stop", "dgnb: apply", "dgnb: tune", "dgnb: compare")
        for task in asyncio.all_tasks()
    )


async def quiet(*panels: ControlPanel) -> None:
    """Stop all panels of a test, and wait until nothing of them runs."""
    for panel in panels:
        panel.click("stop")
    await until(lambda: not any(panel.running for panel in panels) and not busy())


async def opened(panel: ControlPanel) -> LiveSession:
    """Start a panel, and wait until its session hears something."""
    panel.click("start")
    await until(lambda: panel.session and panel.session.state is State.OPEN and panel.session.audio_cursor > 0.5)
    assert panel.session
    return panel.session


def sends(panel: ControlPanel, message: Any, *buffers: bytes) -> None:
    """Deliver a message of the front end as ipywidgets does."""
    panel._handle_custom_msg(message, [memoryview(buffer) for buffer in buffers])


def uploads(panel: ControlPanel, name: str, content: bytes, part: int = 1 << 20) -> None:
    """Choose a file: its parts in order, as `panel.js` sends them. An empty file is one empty part."""
    for offset in range(0, max(1, len(content)), part):
        message = {"do": "upload", "name": name, "offset": offset, "size": len(content)}
        sends(panel, message, content[offset : offset + part])


def answers(panel: ControlPanel) -> list[dict[str, Any]]:
    """What the panel says to its front end from now on. `content` is a file; `view` is there where one view gets it."""
    said: list[dict[str, Any]] = []

    def send(content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        told = {name: value for name, value in content.items() if (name, value) != ("view", "")}
        said.append(told | ({"content": buffers[0]} if buffers else {}))

    panel.send = send
    return said
