"""Texts side by side in a browser: each mark can be read and reached, and a click plays its word."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser

import dgnb
from dgnb.comparison import Comparison
from tests.browser.test_panel_access import CONTRAST
from tests.support.spoken import spoken

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLOCK = "() => document.querySelector('audio').currentTime"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_click_plays_the_word_and_every_mark_can_be_read(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    one, other = (
        spoken(["good", "morning", "you", "there"]),
        spoken(["good", "evening", "over", "you"], [0, 0.5, 0.9, 1]),
    )
    one.audio = dgnb.samples.path()
    Comparison({"a": one, "b": other}).diff().to_html(tmp_path / "diff.html")
    page = await browser.new_page(color_scheme=scheme)
    try:
        await page.goto((tmp_path / "diff.html").as_uri())
        await page.wait_for_selector(".dgnb-differs")
        assert await page.locator(".dgnb-mark").all_text_contents() == ["≠", "≠", "+", "≠", "−"]
        found = await page.evaluate(CONTRAST.replace(".dgnb-panel", ".dgnb-player"))
        assert found["low"] == []
        await page.get_by_role("button", name="Next difference").click()
        assert await page.evaluate("() => document.activeElement.textContent") == "≠morning"
        await page.keyboard.press("Enter")
        async with asyncio.timeout(10):
            while await page.evaluate(CLOCK) < 0.85:  # noqa: ASYNC110 (the page can't call us)
                await asyncio.sleep(0.02)
        assert await page.evaluate("() => document.querySelector('audio').paused") or await page.evaluate(CLOCK) < 1.5
    finally:
        await page.close()
