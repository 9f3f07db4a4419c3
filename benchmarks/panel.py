"""What the panel costs in an hour: 36,000 messages, ten a second, drawn five times a second.

The hour is fed as fast as it goes. Counted are the CPU time of drawing, serialised as for the browser, and the bytes of
each redraw.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from ipywidgets import Widget

from benchmarks.messages import recording
from dgnb import ControlPanel, LiveSession
from dgnb.messages import Results, parse
from dgnb.session import State

MESSAGES = 36_000
A_REDRAW = 2


def main() -> None:
    """Print the figures of one hour."""
    panel = ControlPanel(endpoint="offline")
    panel.session = panel.captions.session = LiveSession(b"x", endpoint="offline")
    panel.session._state = State.OPEN
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


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
