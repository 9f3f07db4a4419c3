"""The panel without a browser: clicks, what they lead to, and what the front end is given to show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import Widget

import dgnb
from dgnb import ControlPanel, LiveOptions, State
from dgnb.cells import Run, _running
from dgnb.exceptions import ConfigurationError
from dgnb.loopback import LoopbackServer, Script
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.widgets.source import GIVEN, SAMPLE, TYPED, UPLOAD
from tests.support.clicks import answers, busy, opened, quiet, sends
from tests.support.waiting import until

CANARY = "canary0123456789"
EVIL = "<script>alert(1)</script> &amp; \x1b[31m \u202e"


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with dgnb.loopback.serve(Script("one two three four", repeat=True)) as server:
        yield server


@pytest.fixture(autouse=True)
def closed() -> Any:
    """Widgets stay in a registry of ipywidgets until they are closed."""
    yield
    Widget.close_all()


@pytest.fixture
async def panel(server: LoopbackServer) -> AsyncIterator[ControlPanel]:
    panel = ControlPanel(endpoint=server.url, pace=5.0)
    yield panel
    await quiet(panel)


# Start and stop


async def test_start_shows_words_and_stop_ends_the_session_three_times_in_a_row(
    panel: ControlPanel, server: LoopbackServer
) -> None:
    assert panel.state["says"] == "Ready"
    for turn in range(3):
        session = await opened(panel)
        await until(lambda: "one" in str(panel.captions["lines"]))
        await until(lambda: panel.state["says"] == "Listening")
        assert panel.state["running"]
        await quiet(panel)
        assert session.error is None
        assert panel.transcript is session.transcript
        assert panel.state["says"] == "Stopped"
        assert not panel.state["running"]
        assert len(server.connections) == turn + 1
    assert panel.error == {}


async def test_twenty_clicks_make_one_connection(panel: ControlPanel, server: LoopbackServer) -> None:
    for _ in range(20):
        panel.click("start")
    await opened(panel)
    for _ in range(20):
        panel.click("stop")
    await quiet(panel)
    assert len(server.requests) == 1


async def test_clicks_from_other_threads_and_loops_run_on_the_panels_loop(panel: ControlPanel) -> None:
    async def click(button: str) -> None:
        sends(panel, {"do": button})

    def elsewhere(button: str) -> None:
        thread = threading.Thread(target=lambda: asyncio.run(click(button)))
        thread.start()
        thread.join()

    for _ in range(3):
        elsewhere("start")
        await until(lambda: panel.session and panel.session.state is State.OPEN)
        elsewhere("stop")
        await until(lambda: not panel.running and not busy())


async def test_one_button_pauses_and_resumes_and_the_meter_rests(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.click("pause")
    await until(lambda: session.paused and panel.state["paused"])
    assert panel.state["says"] == "Paused"
    assert panel.state["level"] == 0
    assert panel.state["loudness"] == ""
    assert "paused" in repr(panel)
    panel.click("pause")
    await until(lambda: not session.paused)
    await until(lambda: panel.state["says"] == "Listening" and panel.state["loudness"])


async def test_finalize_asks_for_finals(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.click("finalize")
    await until(lambda: any(isinstance(m, Results) and m.from_finalize for m in session.transcript.messages))


async def test_the_course_of_a_file_is_told_with_its_length(panel: ControlPanel) -> None:
    session = await opened(panel)
    assert session.length == pytest.approx(47.8, abs=0.5)
    await until(lambda: panel.state["at"].endswith(" of 0:47") and 0 < panel.state["part"] < 1)
    await quiet(panel)
    assert panel.state["result"] == f"{session.transcript.word_count} words in {session.audio_cursor:.1f} s"


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


async def test_buttons_before_start_do_nothing(panel: ControlPanel) -> None:
    for button in ("stop", "pause", "finalize", "apply", "undo"):
        panel.click(button)
    await asyncio.sleep(0)
    assert panel.error == {}
    assert panel.session is None
    assert len(panel.transcript.words) == 0


def test_start_without_a_loop_says_so() -> None:
    panel = ControlPanel(endpoint="offline")
    panel.click("start")
    assert "No event loop runs here" in panel.error["text"]


# Options


async def test_apply_continues_the_same_transcript(panel: ControlPanel, server: LoopbackServer) -> None:
    session = await opened(panel)
    panel.set(smart_format=True)
    await until(lambda: panel.state["changes"] == ["smart_format"])
    assert panel.state["effect"] == "reconnects without a gap"
    panel.click("apply")
    await until(lambda: len(server.connections) == 2 and session.state is State.OPEN)
    await until(lambda: session.options.smart_format and panel.state["changes"] == [])
    assert panel.session is session
    await quiet(panel)
    assert session.transcript.transcript_cursor == pytest.approx(session.audio_cursor)


async def test_the_panel_says_what_apply_will_do_and_undo_takes_it_back(
    panel: ControlPanel, server: LoopbackServer
) -> None:
    session = await opened(panel)
    panel.set(keyterm="Praat\ndgnb")
    await until(lambda: panel.state["changes"] == ["keyterm"])
    assert panel.state["effect"] == "sent live"
    panel.set(multichannel=True)
    await until(lambda: panel.state["changes"] == ["keyterm", "multichannel"])
    assert panel.state["effect"] == "needs a new start"
    panel.set(endpointing="soon")
    await until(lambda: panel.state["changes"] == [])
    panel.click("undo")
    await until(lambda: panel.problems == {})
    assert panel.options() == session.options
    assert panel.state["changes"] == []
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("endpoint", "choices", "field", "told"),
    [
        ("offline", {"language": "de"}, "language", "English only"),
        ("deepgram", {"diarize": True}, "diarize", "Deprecated"),
        ("offline", {"diarize_model": "latest"}, "diarize_model", "speakers"),
        ("deepgram", {"language": "de"}, "", ""),
    ],
)
def test_a_doubtful_choice_gives_a_hint_at_its_field(
    endpoint: str, choices: dict[str, Any], field: str, told: str
) -> None:
    panel = ControlPanel(endpoint=endpoint, api_key=CANARY)
    panel.set(**choices)
    assert list(panel.hints) == [field] * bool(field)
    assert told in panel.hints.get(field, "")
    assert panel.problems == {}


def test_the_badge_says_where_the_audio_would_go() -> None:
    panel = ControlPanel()
    assert panel.state["badge"] == "on this machine"
    panel.set(endpoint="deepgram")
    assert panel.state["badge"] == "needs a key"
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.state["badge"] == "api.deepgram.com"
    assert "in no file" in panel.state["key"]
    panel.set(endpoint="custom", address="wss://api.eu.deepgram.com")
    assert panel.state["badge"] == "api.eu.deepgram.com"


# What goes wrong


@pytest.mark.parametrize(
    ("wrong", "field", "told"),
    [
        ({"path": "  "}, "path", "The source is empty"),
        ({"path": "/no/such.wav"}, "path", "There is no file"),
        ({"path": "ftp://x/y"}, "path", "http"),
        ({"path": "http://127.0.0.1:9/x"}, "path", "can't be read"),
        ({"duration": "soon"}, "duration", "positive number"),
        ({"duration": "-1"}, "duration", "positive number"),
        ({"model": "nova-3-medcal"}, "model", "Did you mean"),
        ({"endpointing": "soon"}, "endpointing", "whole number"),
        ({"address": ""}, "address", "an address such as"),
        ({"address": "api.example.org"}, "address", "an address such as"),
        ({"endpoint": "deepgram"}, "key", "Deepgram needs a key"),
        ({"source": UPLOAD}, "upload", "choose one"),
        ({"sample_rate": "8000"}, "encoding", "encoding"),
    ],
)
async def test_a_mistake_is_told_at_its_field_is_gone_when_mended_and_start_works_again(
    panel: ControlPanel, wrong: dict[str, Any], field: str, told: str
) -> None:
    panel.set(source=TYPED, path=str(dgnb.samples.path()))
    before = dict(panel.values)
    said = answers(panel)
    panel.set(**wrong)
    panel.click("start")
    await until(lambda: told in panel.problems.get(field, "") and not panel.running)
    assert list(panel.problems) == [field]
    await until(lambda: ({"do": "focus", "field": field}, []) in said)
    assert panel.error == {}
    panel.set(**before)
    assert panel.problems == {}
    await opened(panel)


def test_three_mistakes_are_told_at_once_each_at_its_field() -> None:
    panel = ControlPanel(endpoint="offline")
    panel.set(duration="soon", endpointing="fast", language="??")
    assert set(panel.problems) == {"duration", "endpointing", "language"}
    panel.set(endpointing="300")
    assert set(panel.problems) == {"duration", "language"}
    panel.set(duration="", language="en")
    assert panel.problems == {}


async def test_a_refused_key_is_told_at_the_key_until_something_changes(
    panel: ControlPanel, server: LoopbackServer
) -> None:
    with server.rejecting(401):
        for change in ({"do": "key", "key": CANARY}, None):
            panel.click("start")
            await until(lambda: "key" in panel.problems and not panel.running)
            assert panel.error == {}
            if change:
                sends(panel, change)
            else:
                panel.set(endpoint="offline")
            assert panel.problems == {}
    panel.set(endpoint="custom")
    await opened(panel)


async def test_a_refusal_is_shown_and_not_logged(
    panel: ControlPanel, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.rejecting(402):
        panel.click("start")
        await until(lambda: "no credit" in panel.error.get("text", ""))
    assert panel.error["name"] == "HandshakeError"
    assert panel.state["says"] == "Failed"
    assert [record for record in caplog.records if record.name == "dgnb"] == []
    await opened(panel)
    assert panel.error == {}


async def test_a_lost_connection_is_shown_and_the_words_stay(panel: ControlPanel, server: LoopbackServer) -> None:
    with server.dropping(after=3.0, code=1002):
        panel.click("start")
        await until(lambda: panel.error.get("name") == "ConnectionLost")
    assert "one" in panel.transcript.text
    assert "1002" in panel.error["text"]
    assert " s captured" in panel.error["report"]


async def test_a_reconnect_is_not_an_error(panel: ControlPanel, server: LoopbackServer) -> None:
    await opened(panel)
    with server.dropping(after=0, times=1), server.rejecting(503, headers={"Retry-After": "0.6"}, times=1):
        await until(lambda: panel.state["says"].startswith("Reconnecting"))
        assert panel.state["can_pause"]
        assert panel.state["running"]
        await until(lambda: panel.state["says"] == "Listening")
    await until(lambda: panel.transcript.transcript_cursor > 4)
    assert panel.error == {}
    assert panel.transcript.events["type"].tolist().count("opened") == 2


@pytest.mark.parametrize(
    "arguments",
    [{"smart_fromat": True}, {"endpoint": "nowhere"}, {"options": LiveOptions(), "punctuate": True}, {"source_": 1}],
)
def test_unknown_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ControlPanel(**arguments)


def test_a_field_and_a_button_that_are_not_there_are_refused() -> None:
    panel = ControlPanel(endpoint="offline")
    with pytest.raises(ConfigurationError, match="smart_format"):
        panel.set(smart_fromat=True)
    with pytest.raises(ConfigurationError, match="finalize"):
        panel.click("begin")


async def test_text_from_outside_has_no_control_characters() -> None:
    async with dgnb.loopback.serve(Script(EVIL, repeat=True)) as server:
        panel = ControlPanel(endpoint=server.url, pace=5.0)
        await opened(panel)
        await until(lambda: "script" in str(panel.captions["lines"]))
        with server.rejecting(400, EVIL):
            panel.set(smart_format=True)
            panel.click("apply")
            await until(lambda: "alert(1)" in panel.error.get("text", ""))
        shown = "".join(str(vars(panel)["_trait_values"][name]) for name in ("captions", "error", "state", "table"))
        assert "\\x1b" not in shown
        assert "\\u202e" not in shown
        await quiet(panel)


# A front end that others control


async def test_in_a_shared_panel_the_app_sets_the_address_and_the_limit(server: LoopbackServer) -> None:
    panel = ControlPanel(endpoint=server.url, api_key=CANARY, shared=True, duration=2.0, pace=5.0)
    # What a front end can send, whatever is disabled.
    panel.set(address="wss://speech.example.org", duration="")
    panel.click("start")
    await until(lambda: panel.session and panel.session.state is State.CLOSED)
    assert panel.session
    assert panel.session.endpoint.url == server.url
    assert panel.session.audio_cursor == pytest.approx(2.0)
    panel.set(duration="3600")
    assert "duration=2.0" in panel.code()
    panel.set(source=TYPED, path=server.radio_url)
    panel.click("start")
    await until(lambda: "path" in panel.problems)
    await quiet(panel)


def test_what_a_front_end_sends_is_kept_within_what_is_offered() -> None:
    panel = ControlPanel(endpoint="offline", shared=True)
    before = dict(panel.values)
    for sent in (
        {**before, "endpoint": "wss://speech.example.org"},
        {**before, "endpoint": "custom"},
        {**before, "source": GIVEN},
        {**before, "punctuate": "yes", "model": 3, "duration": None, "keyterm": ["x"]},
        {**before, "unknown": True},
        {"model": 1},
    ):
        panel.values = sent
        assert panel.values == before
    panel.values = {**before, "punctuate": True}
    assert panel.options().punctuate


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"do": "rm"},
        {"do": "key"},
        {"do": None},
        {"do": "upload", "name": "x"},
        {"do": "upload", "name": "x", "offset": "far"},
        {"do": "../../etc"},
        "start",
        None,
    ],
)
async def test_a_message_that_means_nothing_harms_nothing(panel: ControlPanel, message: Any) -> None:
    said = answers(panel)
    sends(panel, message)
    await asyncio.sleep(0)
    assert panel.session is None
    assert said == []
    await opened(panel)


# The key


async def test_a_typed_key_is_used_and_stored_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    async with dgnb.loopback.serve(Script("one two"), token=CANARY) as server:
        panel = ControlPanel(endpoint=server.url, pace=None)
        sends(panel, {"do": "key", "key": CANARY})
        await opened(panel)
        await quiet(panel)
        assert server.connections
        state = str(Widget.get_manager_state(drop_defaults=False))
        shown = [state, panel.code(), repr(panel), str(vars(panel)), caplog.text, panel.transcript.events.to_csv()]
        assert CANARY not in "".join(shown)
        assert 'api_key=getpass("Deepgram key: ")' in panel.code()


async def test_an_impossible_key_is_told_at_its_field(panel: ControlPanel) -> None:
    sends(panel, {"do": "key", "key": "two words"})
    assert "Copy it once more" in panel.problems["key"]
    sends(panel, {"do": "key", "key": CANARY})
    assert panel.problems == {}


# Code, files and tables


async def test_the_code_gives_the_same_run(server: LoopbackServer) -> None:
    panel = ControlPanel(
        str(dgnb.samples.path()), endpoint=server.url, pace=None, duration=2.5, smart_format=True, keyterm=["Praat"]
    )
    said = answers(panel)
    sends(panel, {"do": "code"})
    await until(lambda: said)
    assert said == [({"do": "code", "text": panel.code()}, [])]
    panel.click("start")
    await until(lambda: panel.session and not panel.running)
    names: dict[str, Any] = {}
    exec(panel.code().replace("await session\n", ""), names)
    await names["session"]
    first, second = (request.query for request in server.requests)
    assert first == second
    assert [c.bytes_received for c in server.connections] == [80_000, 80_000]
    assert names["session"].transcript.text == panel.transcript.text


def test_code_of_a_wrong_form_asks_to_mend_it() -> None:
    panel = ControlPanel(endpoint="offline")
    panel.set(endpointing="soon")
    said = answers(panel)
    panel.click("code")
    assert said == [({"do": "focus", "field": "endpointing"}, [])]
    assert panel.error == {}


async def test_a_raw_file_is_read_in_the_format_of_the_form(server: LoopbackServer, tmp_path: Path) -> None:
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
    panel.set(source=SAMPLE)
    assert "encoding" not in panel.code()


def test_the_code_of_each_source_is_python() -> None:
    for source in (None, "talk 'x'.wav", b"RIFF", dgnb.FileSource("a.wav")):
        panel = ControlPanel(source, endpoint="offline")
        compile(panel.code().replace("await session\n", ""), "cell", "exec")


async def test_an_uploaded_file_is_transcribed_and_kept_out_of_the_widget(panel: ControlPanel) -> None:
    panel.set(source=UPLOAD)
    panel.click("start")
    await until(lambda: "choose one" in panel.problems.get("upload", ""))
    content = dgnb.samples.path().read_bytes()
    said = answers(panel)
    for offset in range(0, len(content), 50_000):
        message = {"do": "upload", "name": "<b>.ogg", "offset": offset}
        sends(panel, message, content[offset : offset + 50_000])
    assert said[-1] == ({"do": "uploaded", "text": f"<b>.ogg, {len(content) / 1e6:.1f} MB"}, [])
    assert panel.problems == {}
    session = await opened(panel)
    assert session.source.name == "<b>.ogg"
    assert "'<b>.ogg'" in panel.code()
    assert "<b>" not in str(panel.values)
    await quiet(panel)
    panel.set(source=SAMPLE)
    assert (await opened(panel)).source.name == dgnb.samples.path().name


async def test_a_file_that_is_no_audio_is_told_at_its_field_until_another_comes(panel: ControlPanel) -> None:
    panel.set(source=UPLOAD)
    for content, told in ((b"", "empty"), (b"%PDF-1.7 no sound in here", "PDF")):
        sends(panel, {"do": "upload", "name": "talk.wav", "offset": 0}, content)
        panel.click("start")
        await until(lambda told=told: told in panel.problems.get("upload", "") and not panel.running)
    sends(panel, {"do": "upload", "name": "talk.ogg", "offset": 0}, dgnb.samples.path().read_bytes())
    assert panel.problems == {}
    await opened(panel)


async def test_captions_and_table_are_saved_as_files(panel: ControlPanel) -> None:
    await opened(panel)
    await until(lambda: panel.transcript.word_count > 4)
    await quiet(panel)
    said = answers(panel)
    for kind in ("srt", "csv"):
        sends(panel, {"do": kind})
    assert [content for content, _ in said] == [
        {"do": "save", "name": "transcript.srt"},
        {"do": "save", "name": "transcript.csv"},
    ]
    assert said[0][1] == [str(panel.transcript.to_srt()).encode()]
    assert said[1][1][0].startswith(b"word,")


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


# Again


async def test_running_the_cell_again_ends_the_session_of_the_former_panel(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
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


def test_the_repr_of_a_new_panel_is_one_line() -> None:
    assert repr(ControlPanel(endpoint="offline")) == "<ControlPanel, not started>"


# What is sent to the browser


def final(n: int) -> Results:
    said = ["one", "two", "three", "four"]
    words = tuple(Word(word, n + i / 20, n + (i + 1) / 20, 0.9) for i, word in enumerate(said))
    heard = Channel((Alternative(" ".join(said), 0.9, words),))
    return Results((0, 1), 1.0, float(n), heard, is_final=True, speech_final=True)


@pytest.mark.parametrize("tab", ["captions", "words", "timeline", "events"])
async def test_a_redraw_is_as_large_after_an_hour_as_at_first(panel: ControlPanel, tab: str) -> None:
    panel.session = dgnb.LiveSession(b"x", endpoint="offline")
    panel.tab = tab
    sizes = []
    for n in range(3_600):
        panel.session.transcript.feed(final(n))
        panel.session.transcript.note("warning", "something happened")
        if n >= 300 and n % 100 == 0:
            panel._draw()
            sizes.append(len(str([panel.captions, panel.table, panel.state])))
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
