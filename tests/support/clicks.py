"""What tests of the panel share: what its front end sends, and waiting until nothing of it runs."""

from __future__ import annotations

import asyncio
from typing import Any

from dgnb import ControlPanel, LiveSession, State
from tests.support.waiting import until


def busy() -> bool:
    """Whether a task of a panel runs."""
    return any(task.get_name() in ("dgnb: panel", "dgnb: stop") for task in asyncio.all_tasks())


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
    panel._handle_custom_msg(message, list(buffers))


def answers(panel: ControlPanel) -> list[tuple[dict[str, Any], list[bytes]]]:
    """What the panel says to its front end from now on, without the view that it is for."""
    said: list[tuple[dict[str, Any], list[bytes]]] = []

    def send(content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        said.append(({name: value for name, value in content.items() if name != "view"}, list(buffers or [])))

    panel.send = send
    return said
