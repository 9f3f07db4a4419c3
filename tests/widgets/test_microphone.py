from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

import dgnb
from dgnb.audio import Audio
from tests.support.samples import samples
from tests.support.waiting import until


class Page:
    """What `microphone.js` says, without a browser: chunks of 100 ms that count up, at 16 kHz."""

    def __init__(self, microphone: dgnb.Microphone) -> None:
        self.microphone = microphone
        self.told: list[dict[str, Any]] = []
        microphone.send = self.told.append
        microphone.take({"do": "microphone", "hello": True}, [])

    def gives(
        self, number: int, *, take: str = "a-1", after: int | None = None, at: int = 0, sound: bytes = b"", **more: Any
    ) -> None:
        sound = sound or np.full(1600, number + 1, "<i2").tobytes()
        chunk = {"number": number, "after": number - 1 if after is None else after, "at": at or 100 * number + 100}
        form = {"take": take, "rate": 16_000, "channels": 1, "again": False, "ends": False}
        self.microphone.take(form | chunk | more, [memoryview(sound)])

    def says(self, text: str, *, lost: bool) -> None:
        self.microphone.take({"note": text, "lost": lost}, [])


async def opened(page: Page) -> Audio:
    """The microphone of a page that gives its first chunk when a session wants it."""
    opening = asyncio.ensure_future(page.microphone.open())
    await until(lambda: page.told[-1]["wanted"])
    page.gives(0)
    return await opening


async def heard(audio: Audio) -> list[int]:
    return [int(chunk[0]) for chunk in (await samples(audio)).reshape(-1, 1600)]


async def test_chunks_come_once_and_in_order_also_when_the_page_sends_them_again() -> None:
    page = Page(dgnb.Microphone())
    audio = await opened(page)
    page.gives(1)
    page.gives(1)
    page.gives(3)  # Chunk 2 was lost under way.
    page.gives(2, again=True)
    page.gives(3)
    page.gives(4, ends=True)
    assert await heard(audio) == [1, 2, 3, 4, 5]
    assert not audio.notes
    answers = [(told["had"], told["again"]) for told in page.told if "had" in told]
    assert answers == [(0, False), (2, True), (4, False)]


async def test_sound_that_the_page_could_not_keep_is_missed_where_it_was() -> None:
    page = Page(dgnb.Microphone())
    audio = await opened(page)
    page.gives(1)
    page.gives(25, after=1)
    for _ in range(2):
        await anext(audio)
    assert not audio.notes
    await anext(audio)
    assert [(note.type, round(note.missed, 3)) for note in audio.notes] == [("source", 2.3)]
    await audio.aclose()


async def test_a_page_that_was_reloaded_goes_on_and_the_time_between_is_missed() -> None:
    page = Page(dgnb.Microphone())
    audio = await opened(page)
    page.gives(0, take="b-1", at=150)  # Another view, while the first one records.
    await until(lambda: page.told[-1] == {"do": "microphone", "wanted": True, "take": "a-1"})
    page.says("the page was closed or reloaded", lost=True)
    page.gives(0, take="b-1", at=5_200)
    page.gives(1, take="b-1", ends=True)
    assert await heard(audio) == [1, 1, 2]
    assert [(note.text, note.missed) for note in audio.notes] == [
        ("the page was closed or reloaded", 0.0),
        ("the microphone is back", 5.0),
    ]


async def test_the_end_of_a_session_releases_the_microphone() -> None:
    page = Page(dgnb.Microphone())
    audio = await opened(page)
    await audio.aclose()
    assert page.told[-1]["wanted"] is False
    opening = asyncio.ensure_future(page.microphone.open())
    await until(lambda: page.told[-1]["wanted"])
    with pytest.raises(dgnb.AudioError, match="another session"):
        await page.microphone.open()
    opening.cancel()
    await asyncio.wait([opening])
    assert page.told[-1]["wanted"] is False


@pytest.mark.parametrize(("multichannel", "levels"), [(False, [5_000]), (True, [8_000, 2_000])])
async def test_the_rate_of_the_page_is_resampled_and_two_channels_are_mixed_or_kept(
    multichannel: bool, levels: list[int]
) -> None:
    page = Page(dgnb.Microphone(with_tab_audio=True))
    opening = asyncio.ensure_future(page.microphone.open(multichannel=multichannel))
    await until(lambda: page.told[-1]["wanted"])
    both = np.tile(np.array([8_000, 2_000], "<i2"), 4_410).tobytes()
    for number in range(10):
        page.gives(number, rate=44_100, channels=2, sound=both, ends=number == 9)
    sound = await samples(await opening)
    assert abs(len(sound) - 16_000) <= 2
    assert np.abs(sound[2_000:14_000].mean(axis=0) - levels).max() < 10


async def test_a_script_without_a_page_is_told_of_the_other_microphone() -> None:
    with pytest.raises(dgnb.AudioError, match=r"Microphone\(device=True\)"):
        await dgnb.Microphone().open()


@pytest.mark.parametrize("wrong", [{"device": False}, {"device": 1.5}, {"device": True, "with_tab_audio": True}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(dgnb.ConfigurationError, match="device is True, an index or a name"):
        dgnb.Microphone(**wrong)


def test_only_the_microphone_of_the_browser_is_a_widget() -> None:
    microphone = dgnb.Microphone()
    data = microphone._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in str(data)
    microphone.widget.close()
    assert dgnb.Microphone(device=True)._repr_mimebundle_() == {"text/plain": "Microphone('the default microphone')"}


async def test_a_session_goes_on_while_the_microphone_is_away_and_tells_it_at_once() -> None:
    page = Page(dgnb.Microphone())
    async with dgnb.loopback.serve(dgnb.loopback.Script("one two")) as server:
        session = dgnb.LiveSession(page.microphone, endpoint=server.url).start()
        await until(lambda: page.told and page.told[-1].get("wanted"))
        page.gives(0)
        page.says("the microphone was lost", lost=True)
        await until(lambda: "was lost" in " ".join(session.transcript.events.text))
        page.gives(0, take="a-2", at=2_200)
        page.gives(1, take="a-2", ends=True)
        transcript = await session
    assert transcript.gaps[["start", "missed"]].round(3).to_dict("records") == [{"start": 0.1, "missed": 2.0}]
