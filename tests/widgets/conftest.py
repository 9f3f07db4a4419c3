"""What the tests of the panel share: a server, and a panel that goes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from ipywidgets import Widget

import dgnb
from dgnb import ControlPanel
from dgnb.loopback import LoopbackServer, Script
from tests.support.clicks import quiet


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with dgnb.loopback.serve(Script("one two three four", repeat=True)) as server:
        yield server


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Widgets stay in a registry of ipywidgets until they are closed."""
    yield
    Widget.close_all()


@pytest.fixture
async def panel(server: LoopbackServer) -> AsyncIterator[ControlPanel]:
    panel = ControlPanel(endpoint=server.url, pace=5.0)
    yield panel
    await quiet(panel)
