"""The panel and the captions without a kernel: clicks, what they lead to, and what is shown."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import Widget

import dgnb
from dgnb import ControlPanel, LiveCaptions, LiveOptions, LiveSession, State
from dgnb.cells import Run, _running
from dgnb.exceptions import ConfigurationError
from dgnb.loopback import LoopbackServer, Script
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.widgets.captions import escaped
from dgnb.widgets.form import OptionsForm
from tests.support.waiting import until

CANARY = "canary0123456789"
EVIL = "<script>alert(1)</script> <img src=x onerror=alert(1)> &amp; \x1b[31m \u202e"


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


def busy() -> bool:
    """Whether a task of a panel runs."""
    return any(task.get_name() in ("dgnb: panel", "dgnb: stop") for task in asyncio.all_tasks())


async def quiet(*panels: ControlPanel) -> None:
    """Stop all panels of a test, and wait until nothing of them runs."""
    for panel in panels:
        panel.stop_button.click()
    await until(lambda: not any(panel.running for panel in panels) and not busy())


async def opened(panel: ControlPanel) -> LiveSession:
    panel.start_button.click()
    await until(lambda: panel.session and panel.session.state is State.OPEN and panel.session.audio_cursor > 0.5)
    assert panel.session
    return panel.session


# Start and stop


async def test_start_shows_words_and_stop_ends_the_session_three_times_in_a_row(
    panel: ControlPanel, server: LoopbackServer
) -> None:
    for turn in range(3):
        session = await opened(panel)
        await until(lambda: "one" in panel.captions.value)
        await until(lambda: "open" in panel.status.value)
        assert panel.start_button.disabled
        assert not panel.stop_button.disabled
        await quiet(panel)
        assert session.error is None
        assert panel.transcript is session.transcript
        assert not panel.start_button.disabled
        assert panel.stop_button.disabled
        assert len(server.connections) == turn + 1
    assert panel.error.value == ""


async def test_twenty_clicks_make_one_connection(panel: ControlPanel, server: LoopbackServer) -> None:
    for _ in range(20):
        panel.start_button.click()
    await opened(panel)
    for _ in range(20):
        panel.stop_button.click()
    await quiet(panel)
    assert len(server.requests) == 1


async def test_clicks_from_other_threads_and_loops_run_on_the_panels_loop(panel: ControlPanel) -> None:
    async def click(button: Any) -> None:
        button.click()

    def elsewhere(button: Any) -> None:
        thread = threading.Thread(target=lambda: asyncio.run(click(button)))
        thread.start()
        thread.join()

    for _ in range(3):
        elsewhere(panel.start_button)
        await until(lambda: panel.session and panel.session.state is State.OPEN)
        elsewhere(panel.stop_button)
        await until(lambda: not panel.running and not busy())


async def test_one_button_pauses_and_resumes(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.pause_button.click()
    await until(lambda: session.paused)
    await until(lambda: panel.pause_button.description == "Resume")
    assert "paused" in panel.status.value
    assert "paused" in repr(panel)
    panel.pause_button.click()
    await until(lambda: not session.paused)
    assert panel.pause_button.description == "Pause"


async def test_finalize_asks_for_finals(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.finalize_button.click()
    await until(lambda: any(isinstance(m, Results) and m.from_finalize for m in session.transcript.messages))


async def test_apply_continues_the_same_transcript(panel: ControlPanel, server: LoopbackServer) -> None:
    session = await opened(panel)
    panel.form.controls["smart_format"].value = True
    panel.apply_button.click()
    await until(lambda: len(server.connections) == 2 and session.state is State.OPEN)
    await until(lambda: session.options.smart_format)
    assert panel.session is session
    await quiet(panel)
    assert session.transcript.transcript_cursor == pytest.approx(session.audio_cursor)


async def test_a_duration_stops_the_session(panel: ControlPanel) -> None:
    panel.duration.value = "1.5"
    panel.start_button.click()
    await until(lambda: panel.session and not panel.running)
    assert panel.session
    assert panel.session.audio_cursor == pytest.approx(1.5)


async def test_closing_the_panel_ends_its_session(panel: ControlPanel) -> None:
    session = await opened(panel)
    panel.close()
    await until(lambda: session.state is State.CLOSED and not busy())


# What goes wrong


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda p: p.source.typed.set_trait("value", "  "), "The source is empty"),
        (lambda p: p.source.typed.set_trait("value", "/no/such.wav"), "There is no file"),
        (lambda p: p.source.typed.set_trait("value", "ftp://x/y"), "http"),
        (lambda p: p.source.typed.set_trait("value", "http://127.0.0.1:9/x"), "can&#x27;t be read"),
        (lambda p: p.duration.set_trait("value", "soon"), "positive number"),
        (lambda p: p.form.controls["model"].set_trait("value", "nova-3-medcal"), "Did you mean"),
        (lambda p: p.form.controls["endpointing"].set_trait("value", "soon"), "whole number"),
        (lambda p: p.address.set_trait("value", ""), "an address such as"),
        (lambda p: p.endpoint.set_trait("value", "deepgram"), "Deepgram needs a key"),
    ],
)
async def test_a_wrong_entry_is_shown_in_the_error_pane_and_start_works_again(
    panel: ControlPanel, server: LoopbackServer, spoil: Callable[[ControlPanel], object], told: str
) -> None:
    panel.source.kind.value = "A path or address"
    panel.source.typed.value = str(dgnb.samples.path())
    before = {control: control.value for control in (panel.source.typed, panel.duration, panel.address, panel.endpoint)}
    form = panel.options()
    spoil(panel)
    panel.start_button.click()
    await until(lambda: told in panel.error.value and not panel.running)
    assert 'role="alert"' in panel.error.value
    for control, value in before.items():
        control.value = value
    panel.form.show(form)
    await opened(panel)
    assert panel.error.value == ""


async def test_a_refusal_is_shown_and_not_logged(
    panel: ControlPanel, server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    with server.rejecting(402):
        panel.start_button.click()
        await until(lambda: "no credit" in panel.error.value)
    assert "HandshakeError" in panel.error.value
    assert [record for record in caplog.records if record.name == "dgnb"] == []
    await opened(panel)


async def test_a_lost_connection_is_shown_and_the_words_stay(panel: ControlPanel, server: LoopbackServer) -> None:
    with server.dropping(after=3.0, code=1002):
        panel.start_button.click()
        await until(lambda: "ConnectionLost" in panel.error.value)
    assert "one" in panel.transcript.text
    assert "1002" in panel.error.value
    assert "<details><summary>Report</summary>" in panel.error.value
    assert " s captured" in panel.error.value


async def test_a_reconnect_is_not_an_error(panel: ControlPanel, server: LoopbackServer) -> None:
    await opened(panel)
    with server.dropping(after=0, times=1), server.rejecting(503, headers={"Retry-After": "0.6"}, times=1):
        await until(lambda: "reconnecting" in panel.status.value)
        assert not panel.pause_button.disabled
        assert panel.stop_button.disabled is False
        await until(lambda: "open" in panel.status.value)
    await until(lambda: panel.transcript.transcript_cursor > 4)
    assert panel.error.value == ""
    assert panel.transcript.events["type"].tolist().count("opened") == 2


async def test_in_a_shared_panel_the_app_sets_the_address_and_the_limit(server: LoopbackServer) -> None:
    panel = ControlPanel(endpoint=server.url, api_key=CANARY, shared=True, duration=2.0, pace=5.0)
    # What a front end can send, whatever is disabled.
    panel.address.value = "wss://speech.example.org"
    panel.duration.value = ""
    panel.start_button.click()
    await until(lambda: panel.session and panel.session.state is State.CLOSED)
    assert panel.session
    assert panel.session.endpoint.url == server.url
    assert panel.session.audio_cursor == pytest.approx(2.0)
    panel.duration.value = "3600"
    assert "duration=2.0" in panel.code()
    panel.source.kind.value = "A path or address"
    panel.source.typed.value = f"{server.radio_url}"
    panel.start_button.click()
    await until(lambda: "ConfigurationError" in panel.error.value)
    await quiet(panel)


async def test_buttons_before_start_do_nothing(panel: ControlPanel) -> None:
    for button in (panel.stop_button, panel.pause_button, panel.finalize_button, panel.apply_button):
        button.click()
    await asyncio.sleep(0)
    assert panel.error.value == ""
    assert panel.session is None
    assert len(panel.transcript.words) == 0


def test_start_without_a_loop_says_so() -> None:
    panel = ControlPanel(endpoint="offline")
    panel.start_button.click()
    assert "No event loop runs here" in panel.error.value


@pytest.mark.parametrize(
    "arguments",
    [{"smart_fromat": True}, {"endpoint": "nowhere"}, {"options": LiveOptions(), "punctuate": True}, {"source_": 1}],
)
def test_unknown_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ControlPanel(**arguments)


async def test_text_from_outside_is_escaped_wherever_it_is_shown(tmp_path: Path) -> None:
    async with dgnb.loopback.serve(Script(EVIL.replace("\x1b", "").replace("\u202e", ""), repeat=True)) as server:
        panel = ControlPanel(endpoint=server.url, pace=5.0, smart_format=True)
        await opened(panel)
        await until(lambda: "script" in panel.captions.value)
        await quiet(panel)
        panel.source.kind.value = "A path or address"
        panel.source.typed.value = EVIL
        panel.start_button.click()
        await until(lambda: "There is no file" in panel.error.value)
        await quiet(panel)
        with server.rejecting(400, "<script>alert(1)</script>"):
            panel.source.typed.value = str(dgnb.samples.path())
            panel.start_button.click()
            await until(lambda: "HandshakeError" in panel.error.value)
            assert "alert(1)" in panel.error.value
        await quiet(panel)
    for shown in (panel.captions, panel.error, panel.status, panel.badge, panel.hint):
        assert "<script" not in shown.value
        assert "<img" not in shown.value
    assert escaped("a\x1b[31m\u202eb\u200c") == "a [31m b\u200c"


# Options


def test_every_option_has_a_control_that_shows_its_value() -> None:
    options = LiveOptions(
        model="nova-3-medical",
        language="en-GB",
        endpointing=False,
        interim_results=True,
        utterance_end_ms=1500,
        keyterm=["tretinoin", "a, b"],
        diarize_model="latest",
        redact=["pci", "ssn"],
        tag=["x"],
        extra={"filler_words": True, "further": ["1", "2"]},
    )
    form = OptionsForm(options, lambda: None)
    assert set(form.controls) == {field.name for field in dataclasses.fields(LiveOptions)}
    again = form.options()
    assert dict(again.query()) == dict(options.query())
    assert dataclasses.replace(again, extra={}) == dataclasses.replace(options, extra={})
    assert OptionsForm(LiveOptions(), lambda: None).options() == LiveOptions()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("endpointing", "fast", "whole number"),
        ("extra", "novalue", "name=value"),
        ("keyterm", "x\n" * 101, "at most 100"),
        ("language", "Englisch!", "language tag"),
    ],
)
def test_a_wrong_option_is_an_error(name: str, text: str, told: str) -> None:
    form = OptionsForm(LiveOptions(), lambda: None)
    form.controls[name].value = text
    with pytest.raises(ConfigurationError, match=told):
        form.options()


def test_the_format_of_raw_audio_belongs_to_the_source_and_not_to_the_options() -> None:
    given = LiveOptions(encoding="mulaw", sample_rate=8000, channels=2, punctuate=True)
    form = OptionsForm(given, lambda: None)
    assert form.options() == LiveOptions(punctuate=True)
    assert form.source_format() == {"encoding": "mulaw", "sample_rate": 8000, "channels": 2}
    form.show(LiveOptions())
    assert form.source_format() == {}


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"sample_rate": "fast"}, "whole number"),
        ({"sample_rate": "8000"}, "encoding"),
        ({"encoding": "mulaw"}, "sample_rate"),
        ({"encoding": "mulwa", "sample_rate": "8000"}, "Did you mean"),
        ({"channels": "2"}, "needs encoding"),
    ],
)
def test_a_wrong_format_of_raw_audio_gives_a_hint_before_start(choices: dict[str, str], told: str) -> None:
    panel = ControlPanel(endpoint="offline")
    for name, value in choices.items():
        panel.form.controls[name].value = value
    assert told in panel.hint.value


@pytest.mark.parametrize(
    ("endpoint", "choices", "told"),
    [
        ("offline", {"language": "de"}, "English only"),
        ("deepgram", {"diarize": True}, "deprecated"),
        ("offline", {"diarize_model": "latest"}, "speakers"),
        ("deepgram", {"model": "nova-2", "keyterm": "x"}, "keyterm needs nova-3"),
        ("deepgram", {"language": "de"}, ""),
    ],
)
def test_a_doubtful_choice_gives_a_hint_before_start(endpoint: str, choices: dict[str, Any], told: str) -> None:
    panel = ControlPanel(endpoint=endpoint, api_key=CANARY)
    for name, value in choices.items():
        panel.form.controls[name].value = value
    assert told in panel.hint.value
    assert bool(told) == bool(panel.hint.value)


def test_the_badge_says_where_the_audio_would_go(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = ControlPanel()
    assert "OFFLINE ENGINE" in panel.badge.value
    panel.endpoint.value = "deepgram"
    assert "needs a key" in panel.badge.value
    panel.key.value = CANARY
    assert "api.deepgram.com" in panel.badge.value
    panel.endpoint.value = "custom"
    panel.address.value = "wss://api.eu.deepgram.com"
    assert "OWN SERVER" in panel.badge.value
    assert "api.eu.deepgram.com" in panel.badge.value


# The key


async def test_a_typed_key_is_used_and_stored_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with dgnb.loopback.serve(Script("one two"), token=CANARY) as server:
        panel = ControlPanel(endpoint=server.url, pace=None)
        panel.key.value = CANARY
        assert panel.key.value == ""
        await opened(panel)
        await quiet(panel)
        assert server.connections
        state = str(Widget.get_manager_state(drop_defaults=False))
        shown = [state, panel.code(), repr(panel), str(vars(panel)), caplog.text, panel.transcript.events.to_csv()]
        assert CANARY not in "".join(shown)
        assert 'api_key=getpass("Deepgram key: ")' in panel.code()


async def test_an_impossible_key_is_an_error(panel: ControlPanel) -> None:
    panel.key.value = "two words"
    await until(lambda: "Copy it once more" in panel.error.value)
    assert panel.key.value == ""


# Code


async def test_the_code_gives_the_same_run(server: LoopbackServer) -> None:
    panel = ControlPanel(
        str(dgnb.samples.path()), endpoint=server.url, pace=None, duration=2.5, smart_format=True, keyterm=["Praat"]
    )
    panel.code_button.click()
    await until(lambda: panel.text.value)
    assert panel.text.layout.display is None
    panel.start_button.click()
    await until(lambda: panel.session and not panel.running)
    names: dict[str, Any] = {}
    exec(panel.code().replace("await session\n", ""), names)
    await names["session"]
    first, second = (request.query for request in server.requests)
    assert first == second
    assert [c.bytes_received for c in server.connections] == [80_000, 80_000]
    assert names["session"].transcript.text == panel.transcript.text


async def test_a_raw_file_is_read_in_the_format_of_the_form(server: LoopbackServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.raw"
    path.write_bytes(bytes(8000 * 2))
    panel = ControlPanel(str(path), endpoint=server.url, pace=None, encoding="mulaw", sample_rate=8000)
    panel.start_button.click()
    await until(lambda: panel.session and not panel.running)
    await quiet(panel)
    assert panel.error.value == ""
    assert panel.session
    assert panel.session.audio_cursor == pytest.approx(2.0)
    assert dict(server.requests[0].query)["encoding"] == "linear16"
    assert panel.options() == panel.session.options == LiveOptions(interim_results=True)
    assert "    encoding='mulaw',\n    sample_rate=8000,\n" in panel.code()
    panel.source.kind.value = "The sample recording"
    assert "encoding" not in panel.code()


def test_the_code_of_each_source_is_python() -> None:
    for source in (None, "talk 'x'.wav", b"RIFF", dgnb.FileSource("a.wav")):
        panel = ControlPanel(source, endpoint="offline")
        compile(panel.code().replace("await session\n", ""), "cell", "exec")
    panel = ControlPanel(endpoint="offline")
    panel.source.kind.value = "The radio on this machine"
    assert "dgnb.loopback.radio_url()" in panel.code()


async def test_an_uploaded_file_is_transcribed_and_kept_out_of_the_widget(panel: ControlPanel) -> None:
    panel.source.kind.value = "A file of this browser"
    panel.start_button.click()
    await until(lambda: "press Choose" in panel.error.value)
    content = dgnb.samples.path().read_bytes()
    panel.source.upload.value = (
        {
            "name": "<b>.ogg",
            "type": "audio/ogg",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.now(UTC),
        },
    )
    assert panel.source.upload.value == ()
    assert "&lt;b&gt;.ogg" in panel.source.uploaded.value
    session = await opened(panel)
    assert session.source.name == "<b>.ogg"
    assert "'<b>.ogg'" in panel.code()


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


def test_the_repr_of_a_new_panel_is_one_line(panel: ControlPanel) -> None:
    assert repr(panel) == "<ControlPanel, not started>"


# Captions


def final(n: int, text: str) -> Results:
    words = tuple(Word(word, n + i / 20, n + (i + 1) / 20, 0.9) for i, word in enumerate(text.split()))
    return Results((0, 1), 1.0, float(n), Channel((Alternative(text, 0.9, words),)), is_final=True, speech_final=True)


async def test_captions_show_finals_and_the_interim_differently(server: LoopbackServer) -> None:
    source = dgnb.BufferSource(bytes(32_000 * 60), encoding="linear16", sample_rate=16000)
    session = LiveSession(source, endpoint=server.url, pace=5.0, interim_results=True)
    captions = LiveCaptions(session)
    await until(lambda: session.transcript.interim and "font-style:italic" in captions.value)
    await session.stop()
    await until(lambda: "font-style:italic" not in captions.value)
    assert "one two" in captions.value
    assert "LiveCaptions of" in repr(captions)


def test_captions_show_a_full_stop_that_comes_late() -> None:
    captions = LiveCaptions()
    captions.session = LiveSession(b"x", endpoint="offline")
    captions.session.transcript.feed(final(0, "hello"))
    captions.draw()
    captions.session.transcript.feed(Results((0, 1), 0.0, 1.0, Channel((Alternative("."),)), is_final=True))
    captions.draw()
    assert "hello." in captions.value


def test_captions_do_not_grow_with_the_transcript() -> None:
    captions = LiveCaptions()
    captions.session = LiveSession(b"x", endpoint="offline")
    sizes = []
    for n in range(3_000):
        captions.session.transcript.feed(final(n, "ten words that are said over and over, each second"))
        if n >= 200 and n % 100 == 0:
            captions.draw()
            sizes.append(len(captions.value))
    assert max(sizes) < 8_000
    assert max(sizes) - min(sizes) < 300


async def test_unchanged_widgets_are_not_sent_to_the_browser(
    panel: ControlPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(panel)
    await quiet(panel)
    sent: list[object] = []
    for widget in (panel.captions, panel.badge, panel.start_button, panel.form.controls["model"]):
        monkeypatch.setattr(widget, "send_state", lambda key=None: sent.append(key))
    for _ in range(2):
        panel.pause_button.click()  # draws, and changes nothing: the session is closed
        await until(lambda: not busy())
    await asyncio.sleep(0)
    assert sent == []
