"""The control panel in a browser, as its user works with it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.front_ends import Notebook

PANEL = "panel = dgnb.ControlPanel(silence, endpoint=server.url, pace=4)\npanel"


async def press(notebook: Notebook, index: int = 0) -> None:
    """Click on Start or Stop. So soon after another click that people would call it a double click, nothing happens."""
    await notebook.page.wait_for_function("Date.now() - dgnb.clicked > 450")
    await notebook.find(".dgnb-toggle").nth(index).click()


async def start(notebook: Notebook) -> None:
    await expect(notebook.find(".dgnb-toggle")).to_have_text("▶ Start")
    await press(notebook)
    # Captions of a session before may still stand there: the kernel knows that these are new ones.
    await notebook.wait_for("panel.running and 'one two three' in panel.transcript.text + panel.transcript.interim")
    await expect(notebook.find(".dgnb-captions")).to_contain_text("one two three")


async def stop(notebook: Notebook) -> None:
    await expect(notebook.find(".dgnb-toggle")).to_have_text("■ Stop")
    await press(notebook)
    await expect(notebook.find(".dgnb-status")).to_have_text("Stopped")
