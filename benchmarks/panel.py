"""What the panel costs in an hour: 36,000 messages, ten a second, drawn five times a second.

The hour is fed as fast as it goes. Counted are the CPU time of drawing, serialised as for the browser, and the bytes of
each redraw.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ipywidgets import Widget

import dgnb
from benchmarks.messages import recording
from dgnb.messages import Results, parse

MESSAGES = 36_000
A_REDRAW = 2


async def measure() -> None:
    """Print the figures of one hour of a panel whose session is open."""
    async with dgnb.loopback.serve("hello") as server:
        session = dgnb.LiveSession(_endless(), encoding="linear16", sample_rate=16_000, endpoint=server.url).start()
        while session.state is not dgnb.State.OPEN:  # noqa: ASYNC110 - nothing else says so
            await asyncio.sleep(0.01)
        panel = dgnb.ControlPanel(endpoint=server.url)
        panel.session = session
        _draw_an_hour(panel)
        await session.stop()


async def _endless() -> AsyncIterator[bytes]:
    yield bytes(64_000)
    await asyncio.Event().wait()


def _draw_an_hour(panel: dgnb.ControlPanel) -> None:
    sent: list[int] = []

    def send_state(widget: Any, key: Any = None) -> None:
        names = [key] if isinstance(key, str) else list(key) if isinstance(key, Iterable) else None
        sent[-1] += len(json.dumps(widget.get_state(names), default=str))

    Widget.send_state = send_state
    spent = 0.0
    for number, frame in enumerate(recording(MESSAGES)):
        message = parse(frame)
        assert isinstance(message, Results)
        panel.transcript.feed(message, audio_cursor=message.start + message.duration + 0.3)
        if number % A_REDRAW == 0:
            sent.append(0)
            began = time.process_time()
            panel._draw()
            spent += time.process_time() - began
    tenth = len(sent) // 10
    print(f"The panel for an hour: {MESSAGES:,} messages, {len(sent):,} redraws, {panel.transcript.word_count:,} words")
    print(f"CPU of drawing         {100 * spent / (MESSAGES / 10):.2f} % of a core")
    print(f"bytes a redraw         {_mean(sent[tenth : 2 * tenth]):,.0f} early, {_mean(sent[-tenth:]):,.0f} at the end")
    print(f"widget state, saved    {len(json.dumps(Widget.get_manager_state())) / 1e3:.0f} kB")


def main() -> None:
    """Print the figures."""
    asyncio.run(measure())


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
