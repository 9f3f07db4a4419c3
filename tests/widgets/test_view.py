"""What the traits of the panel hold, and when they are sent to the browser."""

from __future__ import annotations

import asyncio
import json

import pytest

import dgnb
from dgnb import ControlPanel
from dgnb.messages import Alternative, Channel, Results, Word
from tests.support.clicks import busy, opened, quiet, sends
from tests.support.waiting import until

CANARY = "canary0123456789"


def test_the_badge_says_where_the_audio_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = ControlPanel()
    assert panel.values["endpoint"] == "offline"
    assert panel.state["badge"] == "on this machine"
    panel.set(endpoint="deepgram")
    assert panel.state["badge"] == "needs a key"
    monkeypatch.setenv("DEEPGRAM_API_KEY", CANARY)
    panel.set(endpoint="offline")
    panel.set(endpoint="deepgram")
    assert panel.state["key"] == "DEEPGRAM_API_KEY"
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.state["badge"] == "api.deepgram.com"
    assert "typed here" in panel.state["key"]
    panel.set(endpoint="custom")
    assert panel.state["badge"] == "needs an address"
    panel.set(address="wss://api.eu.deepgram.com")
    assert panel.state["badge"] == "api.eu.deepgram.com"


async def test_the_course_of_a_file_is_told_with_its_length(panel: ControlPanel) -> None:
    session = await opened(panel)
    assert session.length == pytest.approx(47.8, abs=0.5)
    await until(lambda: panel.state["at"].endswith(" of 0:47") and 0 < panel.state["part"] < 1)
    await quiet(panel)
    assert panel.state["result"] == f"{session.transcript.word_count} words in {session.audio_cursor:.1f} s"


async def test_each_tab_has_its_table(panel: ControlPanel) -> None:
    await opened(panel)
    await until(lambda: panel.transcript.word_count > 30)
    panel.tab = "words"
    await until(lambda: panel.table.get("tab") == "words")
    assert len(panel.table["rows"]) == 20
    assert [type(cell) for cell in panel.table["rows"][0]] == [str, float, float, float, type(None)]
    panel.tab = "events"
    await until(lambda: panel.table.get("tab") == "events")
    assert [row[1] for row in panel.table["rows"]] == ["opened"]
    panel.tab = "timeline"
    await until(lambda: panel.table.get("tab") == "timeline")
    assert all(row[2] > panel.table["end"] - 30 for row in panel.table["rows"])
    await quiet(panel)
    panel.tab = "words"
    await until(lambda: panel.table["tab"] == "words")
    assert len(panel.table["rows"]) == panel.transcript.word_count
    panel.tab = "captions"
    await until(lambda: panel.table == {})


async def test_a_tab_that_is_not_there_shows_nothing_and_harms_nothing(panel: ControlPanel) -> None:
    panel.set_state({"tab": "../words", "table": {"rows": 5}, "state": {}, "captions": {}, "problems": {"key": "x"}})
    session = await opened(panel)
    await until(
        lambda: panel.state["says"] == "Listening" and panel.captions["run"].startswith(str(id(session.transcript)))
    )
    assert panel.problems == {}


def final(n: int) -> Results:
    said = ["one", "two", "three", "four"]
    words = tuple(Word(word, n + i / 20, n + (i + 1) / 20, 0.9) for i, word in enumerate(said))
    heard = Channel((Alternative(" ".join(said), 0.9, words),))
    return Results((0, 1), 1.0, float(n), heard, is_final=True, speech_final=True)


@pytest.mark.parametrize("tab", ["captions", "words", "timeline", "events"])
async def test_a_redraw_is_as_large_after_an_hour_as_at_first(panel: ControlPanel, tab: str) -> None:
    session = panel.session = dgnb.LiveSession(b"x", endpoint="offline")
    panel.tab = tab
    sizes = []
    for n in range(3_600):
        session.transcript.feed(final(n))
        session.transcript.note("warning", "something happened")
        if n >= 300 and n % 100 == 0:
            panel.set(duration=f"{1000 + n}")  # draws
            drawn = panel.get_state({"captions", "table", "state", "values", "problems", "hints", "error"})
            sizes.append(len(json.dumps(drawn)))
    assert f"{4 * 3_600} words" in panel.state["figures"] or tab
    assert max(sizes) < 32_000
    assert max(sizes) - min(sizes) < 2_000
    panel.session = None


async def test_what_did_not_change_is_not_sent_to_the_browser(
    panel: ControlPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(panel)
    await quiet(panel)
    sent: list[object] = []
    monkeypatch.setattr(panel, "send_state", lambda key=None: sent.append(key))
    for _ in range(2):
        panel.click("pause")  # draws, and changes nothing: the session is closed
        await until(lambda: not busy())
    await asyncio.sleep(0)
    assert sent == []
