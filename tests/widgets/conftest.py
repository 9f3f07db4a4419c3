"""What the tests of the panel share: a server, and a panel that goes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from ipywidgets import Widget

from dgnb import ControlPanel
from dgnb.loopback import Script
from tests.support.clicks import quiet
from tests.support.faulty import FaultyServer


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(Script("one two three four", repeat=True)) as server:
        yield server


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Widgets stay in a registry of ipywidgets until they are closed."""
    yield
    Widget.close_all()


@pytest.fixture
async def panel(server: FaultyServer) -> AsyncIterator[ControlPanel]:
    panel = ControlPanel(endpoint=server.url, pace=5.0)
    yield panel
    await quiet(panel)
