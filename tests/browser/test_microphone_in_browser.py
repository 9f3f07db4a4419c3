"""The browser's microphone: Chromium plays a file into it, and the kernel compares what it gets."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

import dgnb
from tests.browser.conftest import ARGUMENTS, CHROMIUM, CLEANUP, SETUP
from tests.support.front_ends import LAB, LAB_6, Desk, Jupyter, Notebook, Place
from tests.support.panels import press
from tests.support.samples import samples

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAR = """
import time
import numpy as np
class Heard(dgnb.AudioSource):  # keeps what the session captures
    def __init__(self, source):
        self.source, self.name, self.data = source, source.name, bytearray()
    async def open(self, *, multichannel=False):
        self.audio = await self.source.open(multichannel=multichannel)
        return dgnb.audio.Audio(self, self.audio.aclose, live=True, waits=False, notes=self.audio.notes)
    def __aiter__(self):
        return self
    async def __anext__(self):
        chunk = await anext(self.audio)
        self.data += chunk
        return chunk
def compared(path):
    \"\"\"Of each half second that was played: correlation and gain, and how much later it was heard, in seconds.\"\"\"
    with __import__("wave").open(path) as file:
        played = np.frombuffer(file.readframes(10**8), "<i2").astype(float)[::3]
    got, found = np.frombuffer(bytes(heard.data), "<i2").astype(float), []
    for start in range(0, len(got) - 16_000, 8_000):
        a, near = played[start:start + 8_000], got[max(0, start - 4_000):start + 16_000]
        at = int(np.argmax(np.correlate(near, a, "valid")))
        b = near[at:at + 8_000]
        if a.std() > 300:
            found.append([np.corrcoef(a, b)[0, 1], a @ b / (a @ a), (at - min(start, 4_000)) / 16_000])
    return np.array(found).round(4).tolist()
microphone = dgnb.Microphone()
heard = Heard(microphone)
session = dgnb.LiveSession(heard, endpoint=server.url).start()
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as the fake device reads it best: 48 kHz, mono, and no content that 16 kHz can't hold."""
    path = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    sound = await samples(await dgnb.FileSource(dgnb.samples.path()).open())
    import av

    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1).copy(), format="s16", layout="mono")
    frame.sample_rate = 16_000
    frames = av.AudioResampler(format="s16", layout="mono", rate=48_000).resample(frame)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        for part in frames:
            file.writeframes(part.to_ndarray().tobytes())
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_desk(jupyter: Jupyter, spoken: Path) -> AsyncIterator[Desk]:
    """A desk before a browser with a microphone, which each page may use only if it is allowed to."""
    fake = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={spoken}%noloop"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *fake])
        yield Desk(browser, jupyter)
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def spoken_to(own_desk: Desk, place: Place) -> AsyncIterator[Notebook]:
    notebook = await own_desk.take(place, SETUP)
    await notebook.page.context.grant_permissions(["microphone"])
    yield notebook
    await notebook.ask("None", CLEANUP)
    assert notebook.errors == []


async def record(notebook: Notebook) -> None:
    await expect(notebook.find(".dgnb-mic-status").first).to_have_text(
        "A session waits for the microphone: click Start, and allow it."
    )
    await notebook.find(".dgnb-record").first.click()
    await expect(notebook.find(".dgnb-record").first).to_have_text("■ Stop")


in_lab = pytest.mark.parametrize("place", [LAB], ids=str)


@pytest.mark.parametrize("place", [LAB_6], ids=str)  # it holds the page's messages while a cell runs
async def test_all_sound_reaches_the_kernel_also_while_a_cell_blocks_it(spoken_to: Notebook, spoken: Path) -> None:
    notebook = spoken_to
    await notebook.run(HEAR, "microphone")
    await record(notebook)
    await notebook.wait_for("len(heard.data) > 48_000")
    await notebook.ask("None", "time.sleep(2)")
    await notebook.wait_for("len(heard.data) > 5 * 32_000")
    await notebook.find(".dgnb-record").click()
    await notebook.wait_for("session.state.value == 'closed' and session.error is None")
    await expect(notebook.find(".dgnb-record")).to_have_text("Turn on")
    pieces = await notebook.ask(f"compared({str(spoken)!r})")
    # On a busy machine Chromium's device stutters by 10 ms. A chunk that is lost would move the rest by 100 ms.
    correlation, gain, _ = np.median(pieces, axis=0)
    assert correlation >= 0.98
    assert gain == pytest.approx(1.0, abs=0.02)
    late = [late for correlation, _, late in pieces if correlation > 0.9]
    assert len(late) >= 6
    assert max(late) - min(late) < 0.09
    assert await notebook.ask("session.transcript.gaps.to_dict('records')") == []


@in_lab
async def test_a_page_that_was_reloaded_goes_on_after_a_click_and_one_of_two_views_records(spoken_to: Notebook) -> None:
    notebook = spoken_to
    await notebook.run(HEAR, "microphone", "microphone")
    await record(notebook)
    await expect(notebook.find(".dgnb-mic-status").nth(1)).to_have_text("Another view of this microphone records.")
    await notebook.wait_for("len(heard.data) > 32_000")
    await notebook.save()
    await notebook.reload()
    await record(notebook)
    size = await notebook.ask("len(heard.data)")
    await notebook.wait_for(f"len(heard.data) > {size} + 32_000")
    assert await notebook.ask("[gap.missed > 0.5 for gap in session.transcript.gaps.itertuples()]") == [True]
    await notebook.ask("None", "await session.stop()")
    await expect(notebook.find(".dgnb-mic-status").nth(0)).to_have_text("Off. Nothing is recorded.")


@in_lab
async def test_the_panel_asks_in_the_click_on_start_and_says_what_was_refused(spoken_to: Notebook) -> None:
    notebook = spoken_to
    await notebook.run("panel = dgnb.ControlPanel(endpoint=server.url)\npanel")
    await notebook.find(".dgnb-field-source select").select_option("Microphone")
    await notebook.page.context.clear_permissions()
    await notebook.find(".dgnb-toggle").click()
    await expect(notebook.find(".dgnb-mic .dgnb-problem")).to_contain_text("Click the icon beside the page's address")
    assert await notebook.ask("panel.session is None")
    await notebook.page.context.grant_permissions(["microphone"])
    await press(notebook)
    await notebook.wait_for("panel.session and panel.session.audio_cursor > 1 and panel.state['level'] > 0")
    await press(notebook)
    await expect(notebook.find(".dgnb-status")).to_have_text("Stopped")
    await expect(notebook.find(".dgnb-mic-status")).to_have_text("Off. Nothing is recorded.")


@in_lab
async def test_each_refusal_of_the_browser_is_a_sentence_with_a_remedy(spoken_to: Notebook) -> None:
    notebook = spoken_to
    await notebook.run("microphone = dgnb.Microphone()\nmicrophone")
    told = notebook.find(".dgnb-mic .dgnb-problem")
    for name, remedy in {
        "NotFoundError": "Plug one in, and try again.",
        "NotReadableError": "end that one, or choose another device.",
        "OverconstrainedError": "Choose another one, and try again.",
        "TypeError": "Try another device or another browser.",
    }.items():
        refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }"
        await notebook.page.evaluate(f"name => {{ {refuse}; }}", name)
        await notebook.find(".dgnb-record").click()
        await expect(told).to_contain_text(remedy)
        await expect(notebook.find(".dgnb-record")).to_have_text("Turn on")
    await notebook.page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    await notebook.find(".dgnb-record").click()
    await expect(told).to_contain_text("Open it over https, or as localhost.")
    await notebook.reload()
