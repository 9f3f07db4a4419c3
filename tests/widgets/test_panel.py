"""The panel without a browser: clicks, what they lead to, and where a mistake is told."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ipywidgets import Widget
from traitlets import TraitError

import dgnb
from dgnb import ControlPanel, FluxOptions, LiveOptions, LiveSession, State, Transcript, account
from dgnb.cells import Run, _running
from dgnb.endpoints import Endpoint
from dgnb.exceptions import ConfigurationError, HandshakeError
from dgnb.loopback import Script
from dgnb.messages import Alternative, Channel, Results, Word
from tests.support.clicks import answers, busy, opened, quiet, sends, uploads
from tests.support.faulty import FaultyServer
from tests.support.waiting import until

CANARY = "canary0123456789"
EVIL = "<script>alert(1)</script> &amp; \x1b[31m \u202e"
TYPED = "A path or address"
UPLOAD = "A file of this browser"


def words(panel: ControlPanel) -> str:
    return " ".join(word for line in panel.captions["lines"] for _, word in line["words"])


def focus(field: str) -> dict[str, str]:
    return {"do": "focus", "field": field}


# Start and stop


async def test_start_shows_words_and_stop_ends_the_session_three_times_in_a_row(
    panel: ControlPanel, server: FaultyServer
) -> None:
    assert panel.state["says"] == "Ready"
    for turn in range(3):
        session = await opened(panel)
        await until(lambda: "one" in words(panel))
        assert panel.state["says"] == "Listening"
        assert panel.state["running"]
        assert panel.state["can_pause"]
        await quiet(panel)
        assert session.error is None
        assert panel.transcript is session.transcript
        assert panel.state["says"] == "Stopped"
        assert not panel.state["running"]
        assert not panel.state["can_pause"]
        assert len(server.connections) == turn + 1
    assert panel.error == {}
    assert panel.problems == {}


async def test_each_start_replays_a_saved_session_anew_without_a_server() -> None:
    saved = Transcript()
    for n in range(9):
        heard = Channel((Alternative("again", words=(Word("again", n, n + 0.5),)),))
        saved.feed(Results((0, 1), 1.0, n, heard, is_final=True), at=1 + n * 10**9, audio_cursor=n + 1.0)
    panel = ControlPanel(dgnb.replay(saved, speed=90), smart_format=True)
    for _ in range(2):
        panel.click("start")
        await until(lambda: panel.running and panel.state["running"] and panel.transcript.word_count)
        assert panel.state["badge"] == "no server: a replay"
        assert panel.state["changes"] == []
        panel.click("pause")
        await until(lambda: panel.state["says"] == "Paused")
        panel.click("pause")
        await until(lambda: not panel.running and panel.state["says"] == "Stopped")
        assert words(panel).split() == ["again"] * 9
        assert panel.state["part"] == 1.0
        assert panel.transcript.words.equals(saved.words)
    assert panel.error == {}


async def test_twenty_clicks_make_one_connection(panel: ControlPanel, server: FaultyServer) -> None:
    for _ in range(20):
        panel.click("start")
    await opened(panel)
    for _ in range(20):
        panel.click("stop")
    await quiet(panel)
    assert len(server.requests) == 1


async def test_what_front_ends_do_in_other_threads_and_loops_runs_on_the_panels_loop(
    panel: ControlPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ipykernel 7.0 to 7.3 does, with a new thread for each message."""
    drawn = set()
    draw = panel._show_session
    monkeypatch.setattr(panel, "_show_session", lambda *how: (drawn.add(threading.current_thread()), draw(*how)))

    def elsewhere(act: Any) -> None:
        async def work() -> None:
            act()

        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        thread.join()

    for turn in range(3):
        elsewhere(lambda: sends(panel, {"do": "start"}))
        await until(lambda: panel.session and panel.session.state is State.OPEN)
        elsewhere(lambda turn=turn: panel.set_state({"tab": ["words", "events", "timeline"][turn]}))
        elsewhere(lambda turn=turn: panel.set_state({"values": {**panel.values, "duration": str(100 + turn)}}))
        elsewhere(lambda: panel.click("stop"))
        await until(lambda: not panel.running and not busy())
    elsewhere(lambda: sends(panel, {"do": "key", "key": "two words"}))
    await until(lambda: "key" in panel.problems)
    assert drawn == {threading.main_thread()}


async def test_one_button_pauses_and_resumes(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.click("pause")
    await until(lambda: session.paused and panel.state["paused"])
    assert panel.state["says"] == "Paused"
    assert panel.state["level"] == 0
    assert "paused" in repr(panel)
    panel.click("pause")
    await until(lambda: not session.paused)
    assert panel.state["says"] == "Listening"


async def test_finalize_asks_for_finals(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.click("finalize")
    await until(lambda: any(isinstance(m, Results) and m.from_finalize for m in session.transcript.messages))


async def test_a_duration_stops_the_session(panel: ControlPanel) -> None:
    panel.set(duration="1.5")
    panel.click("start")
    await until(lambda: panel.session and not panel.running)
    assert panel.session
    assert panel.session.audio_cursor == pytest.approx(1.5)


async def test_closing_the_panel_ends_its_session(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.close()
    await until(lambda: session.state is State.CLOSED and not busy())


async def test_a_reconnect_is_not_an_error(panel: ControlPanel, server: FaultyServer) -> None:
    await opened(panel)
    with server.dropping(after=0, times=1), server.rejecting(503, headers={"Retry-After": "0.6"}, times=1):
        await until(lambda: panel.state["says"].startswith("Reconnecting"))
        assert panel.state["can_pause"]
        assert panel.state["running"]
        assert " s of audio kept" in panel.state["figures"]
        await until(lambda: panel.state["says"] == "Listening")
    await until(lambda: panel.transcript.transcript_cursor > 4)
    assert panel.error == {}
    assert panel.transcript.events["type"].tolist().count("opened") == 2


async def test_buttons_before_start_do_nothing(panel: ControlPanel) -> None:
    for button in ("stop", "pause", "finalize", "apply", "undo"):
        panel.click(button)
    await asyncio.sleep(0)
    assert panel.error == {}
    assert panel.problems == {}
    assert panel.session is None
    assert len(panel.transcript.words) == 0


def test_a_button_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"has no button 'begin'.*start, stop, pause"):
        ControlPanel(endpoint="offline").click("begin")


def test_start_without_a_loop_says_so() -> None:
    panel = ControlPanel(endpoint="offline")
    panel.click("start")
    assert "No event loop runs here" in panel.error["text"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"smart_fromat": True},
        {"endpoint": "nowhere"},
        {"options": LiveOptions(), "punctuate": True},
        {"source_": 1},
        {"duration": 0},
    ],
)
def test_unknown_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ControlPanel(**arguments)


# Options while it runs


async def test_apply_continues_the_same_transcript(panel: ControlPanel, server: FaultyServer) -> None:
    session = await opened(panel)
    panel.set(smart_format=True)
    assert panel.state["changes"] == ["smart_format"]
    assert panel.state["effect"] == "reconnects without a gap"
    panel.click("apply")
    await until(lambda: len(server.connections) == 2 and session.state is State.OPEN)
    await until(lambda: session.options.smart_format and panel.state["changes"] == [])
    assert panel.session is session
    await quiet(panel)
    assert session.transcript.transcript_cursor == pytest.approx(session.audio_cursor)
    assert len(session.transcript.gaps) == 0


@pytest.mark.parametrize("change", [{"multichannel": True}, {"multichannel": True, "keyterm": "Praat"}])
async def test_what_needs_a_new_start_says_so_before_and_after_apply(
    panel: ControlPanel, server: FaultyServer, change: dict[str, Any]
) -> None:
    session = await opened(panel)
    panel.set(**change)
    assert panel.state["effect"] == "multichannel needs a new start"
    panel.click("apply")
    await until(lambda: "start a new session" in panel.error.get("text", ""))
    assert panel.running
    panel.set(multichannel=False)
    assert panel.error == {}
    assert panel.state["changes"] == sorted(set(change) - {"multichannel"})
    assert not session.options.multichannel
    assert len(server.connections) == 1


def test_a_model_of_flux_shows_the_fields_of_flux_and_the_way_back_those_that_were_there() -> None:
    panel = ControlPanel(model="flux-general-en", eot_threshold=0.8, endpoint="offline")
    assert panel.options() == FluxOptions(eot_threshold=0.8)
    assert "dgnb.FluxOptions(eot_threshold=0.8)" in panel.code()
    panel.set(keyterm="Praat", eager_eot_threshold="0.9")
    assert "at most eot_threshold" in panel.problems["eager_eot_threshold"]
    panel.set(model="nova-3")
    assert panel.problems == {}
    assert panel.options() == LiveOptions(interim_results=True, keyterm=["Praat"])
    options = FluxOptions(model="flux-general-multi", language_hint=["de"])
    raw = ControlPanel("talk.raw", options, endpoint="offline", encoding="mulaw", sample_rate=8000, channels=2)
    assert (raw.options(), raw.values["channels"]) == (options, "2")
    assert "dgnb.FluxOptions()" in ControlPanel(options=FluxOptions(), endpoint="offline").code()


async def test_a_moved_slider_is_applied_without_a_click_and_a_refusal_stands_at_it(
    panel: ControlPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, asked, answered = FluxOptions(), list[FluxOptions](), asyncio.Event()

    async def apply(session: LiveSession, options: FluxOptions) -> None:
        nonlocal used
        asked.append(options)
        await answered.wait()
        if options.eot_threshold == 0.9:
            raise ConfigurationError("The server refused eot_threshold: it says no.")
        used = options

    session = await opened(panel)
    monkeypatch.setattr(LiveSession, "options", property(lambda session: used))
    monkeypatch.setattr(LiveSession, "apply", apply)
    panel.set(model="flux-general-en", profanity_filter=True)
    assert (panel.state["changes"], panel.state["effect"]) == (["profanity_filter"], "reconnects without a gap")
    panel.set(profanity_filter=False)
    assert panel.state["changes"] == []
    for value in ("0.71", "0.72", "0.8"):
        panel.set(eot_threshold=value)
        await asyncio.sleep(0)
    panel.set(numerals=True)
    assert (panel.state["changes"], panel.state["effect"]) == (["numerals"], "takes effect at once")
    assert len(asked) == 1, "one is on its way: what moved meanwhile comes after it"
    answered.set()
    await until(lambda: used.eot_threshold == 0.8)
    assert asked == [FluxOptions(eot_threshold=0.71), FluxOptions(eot_threshold=0.8)]
    panel.set(eager_eot_threshold="0.85")
    assert "at most eot_threshold (0.8)" in panel.problems["eager_eot_threshold"]
    panel.set(eager_eot_threshold="", eot_threshold="0.9")
    await until(lambda: "says no" in panel.problems.get("eot_threshold", ""))
    assert len(asked) == 3, "what was refused is not asked again"
    assert panel.error == {}
    panel.set(eot_threshold="0.8")
    assert panel.problems == {}
    assert session is panel.session


async def test_keep_and_compare_lets_the_same_sound_be_heard_with_other_options(server: FaultyServer) -> None:
    panel = ControlPanel(bytes(32_000 * 30), encoding="linear16", sample_rate=16_000, endpoint=server.url, pace=20)
    kept = (await opened(panel)).transcript
    assert panel.state["changes"] == []
    panel.set(smart_format=True)
    assert panel.state["sound"]
    panel.click("keep")
    await until(lambda: panel.running and panel.transcript is not kept)
    second = panel.session
    assert second
    assert second.options == LiveOptions(interim_results=True, smart_format=True)
    assert panel.state["changes"] == []
    await until(lambda: panel.comparison is not None)
    first = f"nova-3, interim_results ({server.url})"
    runs = {first: kept, first.replace(" i", " smart_format, i"): second.transcript}
    assert panel.comparison
    assert panel.comparison.transcripts == runs
    rows = panel.compared["rows"]
    assert [row[:2] for row in rows] == [[name, run.word_count] for name, run in runs.items()]
    assert rows[0][-1] == pytest.approx(rows[1][-1])
    assert panel.error == {}
    # A third run joins them, and a plain start begins anew.
    panel.set(smart_format=False, punctuate=True)
    assert panel.state["changes"] == ["punctuate", "smart_format"]
    assert panel.state["effect"] == "the same sound can be heard again"
    panel.click("keep")
    await until(lambda: len(panel.compared.get("rows", ())) == 3)
    assert panel.comparison.summary.index.is_unique
    await opened(panel)
    assert (panel.comparison, panel.compared) == (None, {})
    panel.set(endpointing="soon")
    panel.click("keep")
    await asyncio.sleep(0)
    assert panel.running, "a mistake stands at its field, and nothing is stopped"
    await quiet(panel)


async def test_models_are_asked_for_where_a_key_is_there_and_silence_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    async def models(*, endpoint: Endpoint) -> pd.DataFrame:
        asked.append(endpoint)
        if len(asked) == 1:
            raise HandshakeError("no network")
        rows = [["nova-9", ["en", "de"], True, "stt"], ["batch", ["en"], False, "stt"], ["old", ["en"], None, "stt"]]
        rows.append(["aura", ["en"], True, "tts"])
        table = pd.DataFrame(rows, columns=["canonical_name", "languages", "streaming", "kind"])
        return table.astype({"streaming": "boolean"})

    monkeypatch.setattr(account, "models", models)
    panel = ControlPanel(endpoint="deepgram", api_key="a-key-of-nobody")
    assert asked == [], "nothing is asked before the panel is on a page"
    for served in ([], [["nova-9", ["en", "de"]]]):
        sends(panel, {"do": "models"})
        await until(lambda: not any(task.get_name() == "dgnb: models" for task in asyncio.all_tasks()))
        assert panel.fields["models"] == served
    assert panel.error == panel.problems == {}
    for endpoint in ("offline", "ws://127.0.0.1:1"):
        sends(ControlPanel(endpoint=endpoint), {"do": "models"})
    await asyncio.sleep(0)
    assert len(asked) == 2


async def stream() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield bytes(3200)


async def test_a_recorded_stream_is_heard_again_from_its_file(server: FaultyServer, tmp_path: Path) -> None:
    file = tmp_path / "talk.flac"
    panel = ControlPanel(
        stream(), encoding="linear16", sample_rate=16_000, endpoint=server.url, record=file, journal=tmp_path / "j"
    )
    kept = await opened(panel)
    panel.set(smart_format=True)
    panel.click("keep")
    await until(lambda: panel.comparison is not None)
    again = panel.session
    assert again
    assert again is not kept
    assert again.audio_cursor == pytest.approx(kept.audio_cursor, abs=0.01)
    assert sorted(os.listdir(tmp_path)) == ["j", "j-1", "talk.flac"]
    assert panel.error == {}


async def test_what_was_not_kept_can_not_be_compared(server: FaultyServer) -> None:
    panel = ControlPanel(stream(), record=False, encoding="linear16", sample_rate=16_000, endpoint=server.url)
    session = await opened(panel)
    panel.set(smart_format=True)
    assert not panel.state["sound"]
    panel.click("keep")
    await quiet(panel)
    assert panel.session is session
    assert panel.state["changes"] == []


async def test_a_session_with_flux_shows_turns_follows_the_sliders_and_ends_a_turn(server: FaultyServer) -> None:
    panel = ControlPanel(bytes(32_000 * 60), model="flux-general-en", encoding="linear16", sample_rate=16_000, pace=5.0)
    panel.set(endpoint="custom", address=server.url)
    session = await opened(panel)
    assert panel.state["turns"]
    panel.set(eot_threshold="0.9", eager_eot_threshold="0.5", eot_timeout_ms="9000")
    await until(lambda: session.options == FluxOptions(eot_threshold=0.9, eager_eot_threshold=0.5, eot_timeout_ms=9000))
    assert len(server.connections) == 1
    with server.refusing_configure():
        panel.set(eot_threshold="0.6")
        await until(lambda: "INVALID_THRESHOLD" in panel.problems.get("eot_threshold", ""))
        assert set(panel.problems) == {"eot_threshold"}
    panel.set(eot_threshold="0.65")
    await until(
        lambda: session.options == FluxOptions(eot_threshold=0.65, eager_eot_threshold=0.5, eot_timeout_ms=9000)
    )
    await until(lambda: panel.captions["interim"])
    panel.click("finalize")
    await until(lambda: "manual" in session.transcript.turns["trigger"].tolist())
    await until(lambda: "one" in words(panel).lower())
    # Eager ends of turns are switched off by another connection.
    panel.set(eager_eot_threshold="")
    await until(lambda: session.options == FluxOptions(eot_threshold=0.65, eot_timeout_ms=9000))
    panel.set(model="nova-3")
    assert (panel.state["changes"], panel.state["effect"]) == (["model"], "reconnects without a gap")
    panel.click("apply")
    await until(lambda: isinstance(session.options, LiveOptions) and session.state is State.OPEN)
    assert panel.error == panel.problems == {}
    await quiet(panel)


async def test_undo_shows_the_options_in_use_again(panel: ControlPanel) -> None:
    panel.set(punctuate=True, endpointing="500")
    session = await opened(panel)
    panel.set(punctuate=False, endpointing="off", keyterm="Praat", encoding="mulaw", sample_rate="8000")
    assert panel.state["changes"] == ["endpointing", "keyterm", "punctuate"]
    panel.click("undo")
    assert panel.state["changes"] == []
    assert panel.options() == session.options
    # How the next source is read is no option of this session.
    assert panel.values["encoding"] == "mulaw"


async def test_while_an_option_is_wrong_nothing_can_be_applied(panel: ControlPanel, server: FaultyServer) -> None:
    session = await opened(panel)
    panel.set(smart_format=True, endpointing="soon")
    assert panel.state["changes"] == []
    assert "whole number" in panel.problems["endpointing"]
    panel.click("apply")
    await until(lambda: not any("apply" in task.get_name() for task in asyncio.all_tasks()))
    assert session.options.endpointing == LiveOptions().endpointing
    panel.set(endpointing="300")
    assert panel.state["changes"] == ["endpointing", "smart_format"]
    assert panel.problems == panel.error == {}


async def test_a_refused_change_is_told_until_the_options_change(panel: ControlPanel, server: FaultyServer) -> None:
    session = await opened(panel)
    panel.set(smart_format=True)
    with server.rejecting(400, "no such thing", times=1):
        panel.click("apply")
        await until(lambda: "no such thing" in panel.error.get("text", ""))
    await until(lambda: session.state is State.OPEN and panel.state["changes"] == ["smart_format"])
    panel.click("undo")
    assert panel.error == {}
    assert panel.state["changes"] == []


# What goes wrong


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("path", "/no/such.wav", "There is no file"),
        ("path", "no such.wav", "There is no file"),
        ("path", "ftp://x/y", "http"),
        ("path", "http://", "host"),
        ("duration", "soon", "positive number"),
        ("duration", "-1", "positive number"),
        ("duration", "nan", "positive number"),
        ("model", "nova-3-medcal", "Did you mean"),
        ("endpointing", "soon", "whole number"),
        ("address", "", "an address such as"),
        ("address", "api.eu.deepgram.com", "an address such as"),
        ("address", "ws://speech.example.org", "wss://"),
        ("address", "https://speech.example.org", "Did you mean 'wss://speech.example.org'"),
    ],
)
async def test_a_mistake_is_told_at_its_field_before_start_and_gone_when_mended(
    panel: ControlPanel, server: FaultyServer, field: str, value: str, told: str
) -> None:
    panel.set(source=TYPED, path=str(dgnb.samples.path()))
    before = panel.values[field]
    panel.set(**{field: value})
    assert told in panel.problems[field]
    heard = answers(panel)
    panel.click("start")
    assert not panel.running
    assert focus(field) in heard
    panel.set(**{field: before})
    assert panel.problems == {}
    await opened(panel)
    assert panel.error == {}


async def test_all_mistakes_are_told_at_once_and_each_goes_when_it_is_mended(panel: ControlPanel) -> None:
    right = panel.values
    wrong = {
        "path": "/no/such.wav",
        "duration": "soon",
        "address": "no scheme",
        "model": "nova-3-medcal",
        "endpointing": "soon",
        "utterance_end_ms": "x",
        "extra": "novalue",
        "sample_rate": "fast",
    }
    panel.set(source=TYPED, **wrong)
    sends(panel, {"do": "key", "key": "two words"})
    assert set(panel.problems) == {*wrong, "key", "encoding"}  # a sample_rate without an encoding
    mended = {"path": str(dgnb.samples.path())}
    for name in wrong:
        panel.set(**{name: mended.get(name, right[name])})
        assert name not in panel.problems
    assert panel.problems == {}  # What was told of the key was about another address.


async def test_what_start_needs_is_told_at_its_field(panel: ControlPanel) -> None:
    panel.set(source=TYPED, path="  ")
    assert panel.problems == {}  # Nobody has typed yet.
    panel.click("start")
    assert "empty" in panel.problems["path"]
    panel.set(source=UPLOAD)
    assert panel.problems == {}
    panel.click("start")
    assert "choose one" in panel.problems["upload"]
    panel.set(source="The sample recording")
    assert panel.problems == {}


async def test_a_missing_key_is_told_at_the_key_and_gets_the_focus(panel: ControlPanel) -> None:
    heard = answers(panel)
    panel.set(endpoint="deepgram")
    assert panel.problems == {}
    assert panel.state["badge"] == "needs a key"
    panel.click("start")
    assert "Deepgram needs a key" in panel.problems["key"]
    assert heard == [focus("key")]
    panel.set(endpoint="offline")
    assert panel.problems == {}
    panel.set(endpoint="deepgram")
    panel.click("start")
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.problems == {}
    assert panel.state["badge"] == "api.deepgram.com"
    assert not panel.running


@pytest.mark.parametrize(
    ("source", "raw"),
    [
        ([0.0] * 16_000, {"sample_rate": 16_000}),
        ((16_000, [0.0] * 16_000), {}),
        (bytes(32_000), {"encoding": "linear16", "sample_rate": 16_000}),
    ],
)
async def test_a_source_that_code_gave_is_heard_at_each_start(
    server: FaultyServer, source: Any, raw: dict[str, Any]
) -> None:
    panel = ControlPanel(source, endpoint=server.url, pace=None, **raw)
    for _ in range(2):
        panel.click("start")
        await until(lambda: panel.session and not panel.running and not busy())
        assert panel.session
        assert panel.session.audio_cursor == pytest.approx(1.0)
    assert panel.problems == {}
    assert ("sample_rate=16000" in panel.code()) == bool(raw)


async def test_an_iterator_that_was_read_says_so_at_the_second_start(server: FaultyServer) -> None:
    chunks = iter([bytes(16_000)] * 3)
    panel = ControlPanel(chunks, endpoint=server.url, pace=None, encoding="linear16", sample_rate=16_000)
    panel.click("start")
    await until(lambda: panel.session and not panel.running and not busy())
    panel.click("start")
    await until(lambda: "opened" in str(panel.error) + str(panel.problems) and not busy())


def test_a_given_source_that_is_none_is_refused_when_the_panel_is_made() -> None:
    with pytest.raises(ConfigurationError, match="not int"):
        ControlPanel(42, endpoint="offline")


def test_a_shared_panel_keeps_the_callback_and_the_journal_to_itself(tmp_path: Path) -> None:
    panel = ControlPanel(endpoint="offline", shared=True, journal=tmp_path / "private.jsonl", duration=1234567.5)
    before = dict(panel.values)
    panel.values = {**before, "callback": "http://127.0.0.1:1/admin", "callback_method": "DELETE"}
    assert panel.options() == LiveOptions(interim_results=True)
    assert "private" not in panel.code()
    assert panel.values["duration"] == "1234567.5"
    assert panel.fields["fixed"] == ["address", "callback", "callback_method"]


@pytest.mark.parametrize("mend", ["start", "key", "endpoint", "address"])
async def test_a_refused_key_is_told_at_the_key_until_something_changes(server: FaultyServer, mend: str) -> None:
    panel = ControlPanel(endpoint=server.url, api_key=CANARY, pace=5.0)
    heard = answers(panel)
    with server.rejecting(401):
        panel.click("start")
        await until(lambda: "key" in panel.problems and not panel.running)
    assert heard == [focus("key")]
    assert panel.error == {}
    assert panel.state["says"] == "Failed"
    panel.set(duration="2")
    assert "key" in panel.problems
    if mend == "start":
        panel.click("start")
    elif mend == "key":
        sends(panel, {"do": "key", "key": CANARY[::-1]})
    else:
        panel.set(**{mend: {"endpoint": "offline", "address": server.url + "/"}[mend]})
    assert panel.problems == {}
    await quiet(panel)


@pytest.mark.parametrize("mend", [{"path": "talk.wav"}, {"source": "The sample recording"}])
@pytest.mark.parametrize("wrong", ["address", "file"])
async def test_audio_that_cannot_be_read_is_told_at_the_path_until_it_changes(
    panel: ControlPanel, mend: dict[str, str], wrong: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no sound\n" * 99)
    path = {"address": "http://127.0.0.1:9/x", "file": str(tmp_path / "notes.txt")}[wrong]
    panel.set(source=TYPED, path=path)
    assert panel.problems == {}
    heard = answers(panel)
    panel.click("start")
    await until(lambda: "path" in panel.problems and not panel.running)
    assert heard == [focus("path")]
    assert panel.error == {}
    told = panel.problems["path"]
    panel.set(endpointing="300")
    assert panel.problems["path"] == told
    panel.set(**mend)
    assert panel.problems.get("path", "") != told
    await quiet(panel)


async def test_a_refusal_is_shown_and_not_logged(
    panel: ControlPanel, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.rejecting(402):
        panel.click("start")
        await until(lambda: "no credit" in panel.error.get("text", ""))
    assert panel.error["name"] == "HandshakeError"
    assert [record for record in caplog.records if record.name == "dgnb"] == []
    await opened(panel)
    assert panel.error == {}


async def test_a_lost_connection_is_shown_and_the_words_stay(panel: ControlPanel, server: FaultyServer) -> None:
    with server.dropping(after=3.0, code=1002):
        panel.click("start")
        await until(lambda: panel.error.get("name") == "ConnectionLost")
    assert "one" in panel.transcript.text
    assert "one" in words(panel)
    assert "1002" in panel.error["text"]
    assert " s captured" in panel.error["report"]


async def test_text_from_outside_has_no_control_characters_wherever_it_is_shown() -> None:
    async with FaultyServer(Script(EVIL, repeat=True)) as server:
        panel = ControlPanel(endpoint=server.url, pace=5.0, smart_format=True)
        heard = answers(panel)
        shown: list[Any] = []

        def look(_: Any = None) -> None:
            traits = (panel.captions, panel.state, panel.problems, panel.hints, panel.error, panel.table)
            shown.extend(map(str, traits))
            report = panel.error.get("report", "").split("\n")
            texts = [panel.error.get("text", ""), *report, *panel.problems.values(), panel.state["badge"], words(panel)]
            assert all(text.isprintable() for text in texts), texts

        panel.observe(look, ["captions", "state", "problems", "error", "table"])
        await opened(panel)
        for tab in ("words", "timeline", "events"):
            panel.tab = tab
            await until(lambda tab=tab: panel.table.get("tab") == tab and panel.table["rows"])
        await until(lambda: "<script>" in words(panel))
        assert any("<script>" in text for text in shown if "'tab': 'words'" in text)
        await quiet(panel)
        panel.set(source=TYPED, path=EVIL)
        assert "There is no file" in panel.problems["path"]
        panel.set(path=f"http://127.0.0.1:9/{EVIL}")
        panel.click("start")
        await until(lambda: "path" in panel.problems)
        await quiet(panel)
        panel.set(address="ws://localhost/\x1b\u202e")
        with server.rejecting(400, body="<script>\x1b[31m\u202e"):
            panel.set(path=str(dgnb.samples.path()), address=server.url)
            panel.click("start")
            await until(lambda: panel.error)
            assert panel.error["name"] == "HandshakeError"
        await quiet(panel)
        uploads(panel, f"{EVIL}.ogg", b"x")
        assert heard[-1]["text"].startswith("<script>")
        assert heard[-1]["text"].isprintable()
    assert not any(character in text for text in shown for character in "\x1b\u202e")


# What a front end sends


@pytest.mark.parametrize(
    "message",
    [
        None,
        7,
        "start",
        [],
        {},
        {"do": None},
        {"do": ["start"]},
        {"do": {"start": 1}},
        {"do": "unknown"},
        {"do": "_start"},
        {"do": "key"},
        {"do": "key", "key": None},
        {"do": "key", "key": 12345678901234},
        {"do": "upload"},
        {"do": "upload", "name": "a.wav", "offset": 0},
        {"do": "upload", "name": 5, "offset": 0, "size": 3},
        {"do": "upload", "name": "a.wav", "offset": "0", "size": 3},
        {"do": "upload", "name": "a.wav", "offset": 10**30, "size": 10**30},
        {"do": "upload", "name": "a.wav", "offset": -1, "size": -1},
        {"do": "exe"},
        {"do": "../srt"},
        {"do": ["srt"]},
        {"do": "stop", "view": {"a": [1]}},
    ],
)
async def test_a_message_that_no_panel_sends_is_ignored(
    panel: ControlPanel, caplog: pytest.LogCaptureFixture, message: Any
) -> None:
    heard = answers(panel)
    with caplog.at_level(logging.DEBUG):
        for buffers in ([], [b"abc"], [b"a", b"b"]):
            sends(panel, message, *buffers)
    assert caplog.text == ""
    assert panel.problems == panel.error == {}
    assert [told for told in heard if told["do"] != "uploaded"] == []
    assert not panel.running
    panel.set(source=UPLOAD)
    panel.click("start")
    assert "choose one" in panel.problems["upload"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"path": 5},
        {"path": ["talk.wav"]},
        {"duration": 5},
        {"duration": None},
        {"address": {}},
        {"smart_format": "true"},
        {"smart_format": None},
        {"smart_format": 1},
        {"keyterm": ["a"]},
        {"extra": {"a": 1}},
        {"endpointing": False},
        {"source": "As given in code"},
        {"source": None},
        {"source": ["The sample recording"]},
        {"endpoint": "nowhere"},
        {"endpoint": {}},
    ],
)
async def test_a_value_that_its_field_cannot_hold_is_refused(
    panel: ControlPanel, caplog: pytest.LogCaptureFixture, wrong: dict[str, Any]
) -> None:
    before = panel.values
    panel.set_state({"values": {**before, **wrong, "punctuate": True, "unknown": "x"}})
    assert panel.values == {**before, "punctuate": True}
    assert panel.problems == panel.error == {}
    panel.set_state({"values": wrong})
    assert panel.values == {**before, "punctuate": True}
    with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))} "):
        panel.set(**wrong)
    assert caplog.text == ""
    await opened(panel)


async def test_values_of_an_unknown_field_are_dropped_and_missing_ones_stay(panel: ControlPanel) -> None:
    before = panel.values
    panel.set_state({"values": {}})
    assert panel.values == before
    panel.set_state({"values": {"__class__": "x", "api_key": CANARY, "punctuate": True}})
    assert panel.values == {**before, "punctuate": True}
    with pytest.raises(ConfigurationError, match=r"no field 'punctate'\. Did you mean 'punctuate'"):
        panel.set(punctate=True)


@pytest.mark.parametrize("trait", ["values", "tab", "problems", "state", "captions"])
async def test_a_trait_of_another_type_is_refused_and_the_panel_goes_on(panel: ControlPanel, trait: str) -> None:
    before = getattr(panel, trait)
    with pytest.raises(TraitError):  # ipywidgets catches it
        panel.set_state({trait: 5})
    assert getattr(panel, trait) == before
    await opened(panel)
    await until(lambda: panel.state["says"] == "Listening")


async def test_in_a_shared_panel_the_app_sets_the_address_and_the_limit(server: FaultyServer, tmp_path: Path) -> None:
    panel = ControlPanel(endpoint=server.url, api_key=CANARY, shared=True, duration=2.0, pace=5.0)
    assert "address" in panel.fields["fixed"]
    # What a front end can send, whatever is disabled.
    elsewhere = {"address": "wss://speech.example.org", "duration": ""}
    panel.set_state({"fields": {**panel.fields, "fixed": [], "sources": ["x"]}})
    panel.set_state({"values": {**panel.values, **elsewhere}})
    assert panel.values["address"] == server.url
    panel.click("start")
    await until(lambda: panel.session and panel.session.state is State.CLOSED)
    assert panel.session
    assert panel.session.endpoint.url == server.url
    assert panel.session.audio_cursor == pytest.approx(2.0)
    panel.set(duration="3600")
    assert "duration=2.0" in panel.code()
    await quiet(panel)
    for source, told in ((server.radio_url, "public"), ("/etc/passwd", "folder"), ("/no/such.wav", "folder")):
        panel.set_state({"values": {**panel.values, "source": TYPED, "path": source}})
        panel.click("start")
        await until(lambda: not panel.running and not busy())
        assert told in panel.problems["path"]
    with pytest.raises(ConfigurationError, match="address is one of"):
        panel.set(address="wss://speech.example.org")


async def test_a_shared_panel_without_an_own_server_takes_none(server: FaultyServer) -> None:
    panel = ControlPanel(endpoint="offline", shared=True)
    assert "custom" not in panel.fields["endpoints"]
    panel.set_state({"fields": {**panel.fields, "endpoints": {"custom": "Own server"}}})
    panel.set_state({"values": {**panel.values, "endpoint": "custom", "address": server.url}})
    assert panel.values["endpoint"] == "offline"
    assert panel.values["address"] == ""
    assert server.requests == []


# The key


async def test_a_typed_key_is_used_and_stored_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async with FaultyServer(Script("one two"), token=CANARY) as server:
        panel = ControlPanel(endpoint=server.url, pace=None)
        heard = answers(panel)
        sends(panel, {"do": "key", "key": CANARY})
        assert "typed here" in panel.state["key"]
        await opened(panel)
        await quiet(panel)
        panel.click("code")
        assert server.connections
        state = str(Widget.get_manager_state(drop_defaults=False))
        shown = [state, panel.code(), repr(panel), str(vars(panel)), caplog.text, panel.transcript.events.to_csv()]
        assert CANARY not in "".join([*shown, str(heard), str(panel.state), str(panel._trait_values)])
        assert 'api_key=getpass("Deepgram key: ")' in panel.code()


async def test_a_panel_for_deepgram_without_a_key_asks_for_it_at_its_field() -> None:
    panel = ControlPanel(endpoint="deepgram")
    assert panel.state["badge"] == "needs a key"
    heard = answers(panel)
    panel.click("start")
    assert heard == [focus("key")]
    assert "Deepgram needs a key" in panel.problems["key"]
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.problems == {}
    with pytest.raises(ConfigurationError):
        ControlPanel(endpoint="deepgram", api_key="two words")


@pytest.mark.parametrize("endpoint", ["deepgram", "custom"])
def test_a_wrong_key_of_the_environment_is_told_at_the_key(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "two words")
    panel = ControlPanel(endpoint="deepgram")
    panel.set(endpoint=endpoint, address="wss://speech.example.org")
    assert panel.problems == {}
    panel.click("start")
    assert list(panel.problems) == ["key"]
    assert "DEEPGRAM_API_KEY" in panel.problems["key"]
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.problems == {}


@pytest.mark.parametrize("typed", ["two words", "", "schlüssel", f"{CANARY}\r\nHost: x"])
async def test_an_impossible_key_is_told_at_the_key_and_not_shown(panel: ControlPanel, typed: str) -> None:
    sends(panel, {"do": "key", "key": typed})
    assert "Copy it once more" in panel.problems["key"]
    assert CANARY not in str(Widget.get_manager_state(drop_defaults=False))
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.problems == {}


# Code and downloads


async def test_the_code_gives_the_same_run(server: FaultyServer) -> None:
    panel = ControlPanel(
        str(dgnb.samples.path()), endpoint=server.url, pace=None, duration=2.5, smart_format=True, keyterm=["Praat"]
    )
    heard = answers(panel)
    panel.click("code")
    assert heard == [{"do": "code", "text": panel.code()}]
    panel.click("start")
    await until(lambda: panel.session and not panel.running)
    names: dict[str, Any] = {}
    exec(panel.code().replace("await session\n", ""), names)
    await names["session"]
    first, second = (request.query for request in server.requests)
    assert first == second
    assert [c.bytes_received for c in server.connections] == [80_000, 80_000]
    assert names["session"].transcript.text == panel.transcript.text


async def test_the_code_of_a_wrong_form_is_an_error_at_the_field(panel: ControlPanel) -> None:
    heard = answers(panel)
    panel.set(endpointing="soon")
    panel.click("code")
    assert heard == [focus("endpointing")]
    with pytest.raises(ConfigurationError, match="whole number"):
        panel.code()
    # A file may be made later, and a key is asked for.
    panel.set(endpointing="", source=TYPED, path="later.wav", endpoint="deepgram")
    panel.click("start")
    panel.click("code")
    assert heard[-1] == {"do": "code", "text": panel.code()}
    assert "'later.wav'" in panel.code()


async def test_a_raw_file_is_read_in_the_format_of_the_form(server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.raw"
    path.write_bytes(bytes(8000 * 2))
    panel = ControlPanel(str(path), endpoint=server.url, pace=None, encoding="mulaw", sample_rate=8000)
    panel.click("start")
    await until(lambda: panel.session and not panel.running)
    await quiet(panel)
    assert panel.error == {}
    assert panel.session
    assert panel.session.audio_cursor == pytest.approx(2.0)
    assert dict(server.requests[0].query)["encoding"] == "linear16"
    assert panel.options() == panel.session.options == LiveOptions(interim_results=True)
    assert "    encoding='mulaw',\n    sample_rate=8000,\n" in panel.code()
    panel.set(source="The sample recording")
    assert "encoding" not in panel.code()


async def test_an_answer_goes_to_the_view_that_asked(panel: ControlPanel) -> None:
    heard = answers(panel)
    sends(panel, {"do": "srt", "view": "a"})
    sends(panel, {"do": "code", "view": "b"})
    panel.click("code")
    assert [told.get("view") for told in heard] == ["a", "b", None]


async def test_the_captions_and_the_table_can_be_saved(panel: ControlPanel) -> None:
    heard = answers(panel)
    sends(panel, {"do": "srt"})
    assert heard.pop() == {"do": "save", "name": "transcript.srt", "content": b""}
    await opened(panel)
    await until(lambda: panel.transcript.word_count > 8)
    await quiet(panel)
    assert panel.state["result"] == f"{panel.transcript.word_count} words in {panel.session.audio_cursor:.1f} s"
    sends(panel, {"do": "srt"})
    sends(panel, {"do": "csv"})
    assert heard == [
        {"do": "save", "name": "transcript.srt", "content": str(panel.transcript.to_srt()).encode()},
        {"do": "save", "name": "transcript.csv", "content": str(panel.transcript.to_csv()).encode()},
    ]
    assert b"-->" in heard[0]["content"]
    assert b"one" in heard[1]["content"]


# Files of the browser


async def test_an_uploaded_file_is_transcribed_and_kept_out_of_the_widget(panel: ControlPanel) -> None:
    heard = answers(panel)
    panel.set(source=UPLOAD)
    content = dgnb.samples.path().read_bytes()
    uploads(panel, "<b>.ogg", content, part=len(content) // 3)
    assert len(heard) > 3
    assert heard[-1]["text"].startswith("<b>.ogg, ")
    session = await opened(panel)
    assert session.source.name == "<b>.ogg"
    assert "'<b>.ogg'" in panel.code()
    assert len(str(Widget.get_manager_state(drop_defaults=False))) < 100_000
    panel.set(endpointing="300")
    await quiet(panel)
    assert panel.problems == {}


async def test_an_upload_and_then_another_source_leaves_nothing_stale(panel: ControlPanel) -> None:
    panel.set(source=UPLOAD)
    uploads(panel, "notes.txt", b"no sound\n" * 99)
    panel.click("start")
    await until(lambda: "upload" in panel.problems and not panel.running)
    panel.set(source="The sample recording")
    assert panel.problems == {}
    session = await opened(panel)
    assert session.source.name != "notes.txt"
    await quiet(panel)
    panel.set(source=UPLOAD)
    panel.click("start")
    await until(lambda: "upload" in panel.problems and not panel.running)
    uploads(panel, "other.ogg", dgnb.samples.path().read_bytes())
    assert panel.problems == {}
    session = await opened(panel)
    assert session.source.name == "other.ogg"


async def test_a_file_that_is_no_audio_is_told_at_its_field_until_another_comes(panel: ControlPanel) -> None:
    panel.set(source=UPLOAD)
    for content, told in ((b"", "empty"), (b"%PDF-1.7 no sound in here", "PDF")):
        uploads(panel, "talk.wav", content)
        panel.click("start")
        await until(lambda told=told: told in panel.problems.get("upload", "") and not panel.running)
    uploads(panel, "talk.ogg", dgnb.samples.path().read_bytes())
    assert panel.problems == {}
    await opened(panel)


async def test_a_file_is_not_transcribed_before_all_of_it_is_there(panel: ControlPanel) -> None:
    content = dgnb.samples.path().read_bytes()
    half = len(content) // 2
    panel.set(source=UPLOAD)
    heard = answers(panel)
    message = {"do": "upload", "name": "talk.ogg", "size": len(content)}
    sends(panel, {**message, "offset": 0}, content[:half])
    panel.click("start")
    assert "still on its way" in panel.problems["upload"]
    assert not panel.running
    # A part out of its order is no part of the file.
    sends(panel, {**message, "offset": half + 1}, content[half + 1 :])
    assert heard[-1]["text"] == f"talk.ogg, {half / 1e6:.1f} of {len(content) / 1e6:.1f} MB"
    sends(panel, {**message, "offset": half}, content[half:])
    assert panel.problems == {}
    assert (await opened(panel)).source.name == "talk.ogg"


async def test_a_file_that_is_taken_back_is_forgotten(panel: ControlPanel) -> None:
    panel.set(source=UPLOAD)
    heard = answers(panel)
    uploads(panel, "talk.ogg", dgnb.samples.path().read_bytes())
    uploads(panel, "", b"")
    assert heard[-1] == {"do": "uploaded", "text": ""}
    panel.click("start")
    assert "choose one" in panel.problems["upload"]
    assert not panel.running


# Again


async def test_running_the_cell_again_ends_the_session_of_the_former_panel(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {name: Run(name.split()[0]) for name in ("one", "two", "one again")}

    def run_cell(name: str) -> None:
        monkeypatch.setattr("dgnb.cells._newest", runs[name])
        _running.set(runs[name])

    run_cell("one")
    first, beside = (ControlPanel(endpoint=server.url, pace=5.0) for _ in range(2))
    await opened(first)
    await opened(beside)
    run_cell("two")
    other = ControlPanel(endpoint=server.url, pace=5.0)
    await opened(other)
    run_cell("one again")
    again = ControlPanel(endpoint=server.url, pace=5.0)
    await opened(again)
    await until(lambda: not first.running and not beside.running)
    assert other.running
    await quiet(first, beside, other, again)
    assert server.active == 0


async def test_two_panels_of_one_page_know_nothing_of_each_other(server: FaultyServer) -> None:
    one, two = (ControlPanel(endpoint=server.url, pace=5.0) for _ in range(2))
    one.set(punctuate=True, endpointing="soon")
    sends(one, {"do": "key", "key": CANARY})
    assert two.problems == {}
    assert two.values["punctuate"] is False
    assert two.state["key"] == ""
    session = await opened(two)
    assert one.session is None
    assert one.state["says"] == "Ready"
    one.set(endpointing="")
    await opened(one)
    one.click("stop")
    await until(lambda: not one.running)
    assert two.session is session
    assert two.running
    await quiet(two)


def test_the_repr_of_a_new_panel_is_one_line() -> None:
    assert repr(ControlPanel(endpoint="offline")) == "<ControlPanel, not started>"


async def test_a_panel_keeps_the_sound_of_a_stream_and_offers_it_after_the_stop() -> None:
    async with dgnb.loopback.serve(Script("one two three", repeat=True)) as server:
        panel = dgnb.ControlPanel(server.radio_url, endpoint=server.url, duration=1)
        panel.click("start")
        assert panel.session is not None
        await panel.session
        await until(lambda: panel.state.get("sound") is True)
        assert len(panel.transcript.clip(0, 1)) > 30_000
        assert "record=True" in panel.code()
        shared = dgnb.ControlPanel(server.radio_url, endpoint=server.url, shared=True)
        assert "record" not in shared.code()
    panel.close()


async def test_a_limit_in_us_dollars_is_checked_and_part_of_the_code() -> None:
    assert "max_cost=0.5" in ControlPanel(endpoint="offline", max_cost=0.5).code()
    for wrong in (-1, "much", True):
        with pytest.raises(ConfigurationError, match="max_cost"):
            ControlPanel(endpoint="offline", max_cost=wrong)  # type: ignore[arg-type]


async def test_what_a_session_costs_stands_in_the_line_of_state(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endpoint, "local", property(lambda self: False))
    panel = ControlPanel(bytes(32_000), encoding="linear16", sample_rate=16_000, endpoint=server.url, record=False)
    panel.click("start")
    await until(lambda: panel.session is not None and not panel.running)
    assert panel.transcript.cost == pytest.approx(0.0048 / 60)
    await until(lambda: "≈ US$0.0001" in panel.state["figures"])
