"""The control panel without a mouse, without sight, with little room, and in the dark."""

from __future__ import annotations

import itertools

import pytest
from playwright.async_api import Locator, expect

from tests.support.front_ends import LAB, NOTEBOOK, Notebook
from tests.support.panels import PANEL, start, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")

in_lab = pytest.mark.parametrize("place", [LAB], ids=str)

STOPS = """panel => [...panel.querySelectorAll("button, input, select, textarea, summary, [tabindex='0']")]
    .filter(one => one.checkVisibility() && !one.disabled && one.tabIndex >= 0)"""

# What has the focus, as one would name it; after two frames, in which browsers take it away from what is hidden.
FOCUS = """async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const one = document.activeElement;
    if (!one.closest('.dgnb-panel')) return `outside: ${one.tagName}`;
    return one.labels?.[0]?.firstChild.textContent ?? one.ariaLabel ?? (one.textContent.trim() || one.className);
}"""

# Texts whose contrast to what is behind them is below WCAG's 4.5 to 1, and how many there are in all.
CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = (top, below) =>
        below.map((value, index) => index < 3 ? top[index] * top[3] + value * (1 - top[3]) : 1);
    const light = colour => {
        const [red, green, blue] = colour.map(value => value / 255).map(
            value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ratio = (element, style) => {
        const line = [];
        for (let one = element; one; one = one.parentElement) line.unshift(one);
        let behind = [255, 255, 255, 1], opacity = 1;
        for (const one of line) {
            opacity *= Number(getComputedStyle(one).opacity);
            behind = over(rgba(getComputedStyle(one).backgroundColor), behind);
        }
        const colour = rgba(style.webkitTextFillColor);
        colour[3] *= opacity * (style === getComputedStyle(element) ? 1 : Number(style.opacity));
        const [one, other] = [light(over(colour, behind)), light(behind)].sort((one, other) => other - one);
        return (one + 0.05) / (other + 0.05);
    };
    const panel = document.querySelector('.dgnb-panel');
    const found = [];
    const judge = (element, text, pseudo) => {
        const box = element.getBoundingClientRect();
        if (!text || !element.checkVisibility() || !box.width || element.closest('.dgnb-hidden, option')) return;
        found.push([ratio(element, getComputedStyle(element, pseudo)), text, element.className]);
    };
    const texts = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) judge(texts.currentNode.parentElement, texts.currentNode.textContent.trim());
    for (const field of panel.querySelectorAll('input, select, textarea')) {
        if (['checkbox', 'file'].includes(field.type)) continue;
        judge(field, field.value || field.placeholder, field.value ? undefined : '::placeholder');
    }
    return {count: found.length, worst: Math.min(...found.map(one => one[0])), low: found.filter(one => one[0] < 4.5)};
}"""

# What stands out of the panel, or has to be scrolled sideways, or can't be clicked because something covers it.
OVERFLOW = """panel => {
    const right = panel.getBoundingClientRect().right + 1;
    const visible = [...panel.querySelectorAll('*')].filter(
        one => one.checkVisibility() && !one.closest('.dgnb-hidden, .dgnb-timeline *, option, datalist'));
    const name = one => `${one.tagName} ${one.id || one.className} ${one.textContent.slice(0, 30)}`;
    const wide = visible.filter(one => one.getBoundingClientRect().right > right
        || (one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).display !== 'inline'
            && !one.matches('.dgnb-timeline, input, select, textarea, progress')));
    const covered = visible.filter(one => one.matches('button, input, select, textarea')).filter(one => {
        one.scrollIntoView({block: 'center'});
        const box = one.getBoundingClientRect();
        const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        return !one.contains(hit);
    });
    return {wide: wide.map(name), covered: covered.map(name)};
}"""


async def focus(notebook: Notebook) -> str:
    return str(await notebook.page.evaluate(FOCUS))


async def tab_to(notebook: Notebook, control: Locator) -> None:
    """Press Tab, or Shift and Tab, until the control has the focus."""
    for _ in range(90):
        where = await control.evaluate("one => one.compareDocumentPosition(document.activeElement)")
        if where == 0:
            return
        await notebook.page.keyboard.press("Shift+Tab" if where & 4 else "Tab")
    pytest.fail(f"Tab did not come to {control}.")


@pytest.mark.parametrize("place", [LAB, NOTEBOOK], ids=str)
async def test_the_panel_is_operated_with_the_keyboard_alone(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    page, keyboard = notebook.page, notebook.page.keyboard
    toggle, pause, find = notebook.find(".dgnb-toggle"), notebook.find(".dgnb-pause"), notebook.find
    status, captions = find(".dgnb-status"), find(".dgnb-captions")

    await find(".jp-Cell").focus()
    await tab_to(notebook, toggle)
    await keyboard.press("Enter")
    await expect(captions).to_contain_text("one two three")
    assert await focus(notebook) == "■ Stop"
    await tab_to(notebook, pause)
    await keyboard.press("Space")
    await expect(status).to_have_text("Paused")
    assert await focus(notebook) == "▶ Resume"
    await keyboard.press("Enter")
    await expect(status).to_have_text("Listening")
    assert await focus(notebook) == "❚❚ Pause"

    # The tabs are one stop, and arrows go from one to the next.
    await tab_to(notebook, page.get_by_role("tab", name="Captions"))
    for key, name in {"ArrowRight": "Words", "ArrowLeft": "Captions"}.items():
        await keyboard.press(key)
        await expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        assert await focus(notebook) == name

    # Options: a letter and a space on the way are no commands of the notebook.
    numerals = find(".dgnb-field-numerals")
    await tab_to(notebook, page.get_by_label("Search the other options"))
    await keyboard.type("numer")
    await expect(numerals).to_be_visible()
    await tab_to(notebook, numerals.locator("input"))
    await keyboard.press("Space")
    apply = notebook.button("Apply 1 change")
    await expect(find(".dgnb-effect")).to_have_text("numerals: reconnects without a gap")
    await tab_to(notebook, apply)
    await keyboard.press("Enter")
    await notebook.wait_for("panel.session.options.numerals")
    await expect(find(".dgnb-changes")).to_be_hidden()
    assert not (await focus(notebook)).startswith("outside")
    await tab_to(notebook, numerals.locator(".dgnb-reset"))
    await keyboard.press("Enter")
    await expect(apply).to_be_visible()
    assert await focus(notebook) == "Numerals"
    await tab_to(notebook, notebook.button("Undo"))
    await keyboard.press("Space")
    await expect(find(".dgnb-changes")).to_be_hidden()
    await expect(numerals.locator("input")).to_be_checked()
    assert not (await focus(notebook)).startswith("outside")
    await tab_to(notebook, notebook.button("Fast"))
    await keyboard.press("Enter")
    await expect(notebook.button("Fast")).to_have_attribute("aria-pressed", "true")
    assert await focus(notebook) == "Fast"

    await tab_to(notebook, notebook.button("Finalize"))
    for _ in range(30):  # in a pause of the speaker there is nothing to finalize
        await keyboard.press("Enter")
        if await notebook.ask("panel.transcript.results.from_finalize.any()", "await asyncio.sleep(0.1)"):
            break
    else:
        pytest.fail("Finalize did nothing.")
    await tab_to(notebook, toggle)
    await keyboard.press("Space")
    await expect(status).to_have_text("Stopped")
    assert await focus(notebook) == "▶ Start"

    await tab_to(notebook, notebook.button("Words table"))
    await keyboard.press("Enter")
    await expect(find(".dgnb-words tbody tr").first).to_be_visible()
    assert await focus(notebook) == "Words table"
    source = find(".dgnb-field-source select")
    await tab_to(notebook, source)
    await keyboard.press("ArrowDown")
    await expect(source).to_have_value("Microphone")
    await notebook.wait_for("panel.values['source'] == 'Microphone'")
    await keyboard.press("x")  # in JupyterLab: cut the cell
    assert await focus(notebook) == "Source"

    everything = notebook.find("[aria-controls$=others]")
    await tab_to(notebook, everything)
    await keyboard.press("Space")
    await expect(everything).to_have_text("Fewer options")
    await tab_to(notebook, toggle)
    stops = await find(".dgnb-panel").evaluate(f"panel => ({STOPS})(panel).length")
    assert stops > 50
    for _ in range(stops - 1):
        assert not (await focus(notebook)).startswith("outside")
        await keyboard.press("Tab")
    await expect(notebook.button("Copy as code")).to_be_focused()
    unnamed = f"panel => ({STOPS})(panel).filter(one => !one.matches('div') && !one.labels?.length"
    assert (
        await find(".dgnb-panel").evaluate(f"{unnamed} && !one.ariaLabel && !one.textContent).map(one => one.id)") == []
    )
    assert await page.evaluate("() => dgnb.cells().length") == 1


@in_lab
async def test_what_is_hidden_while_it_has_the_focus_gives_it_to_what_stands_before_it(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    find = notebook.find

    async def after(control: Locator, code: str) -> str:
        """Where the focus is after something other than this control was used, in another cell or view."""
        await expect(control).to_be_visible()
        await control.focus()
        await expect(control).to_be_focused()
        before = await control.element_handle()
        await notebook.ask("None", code)
        await notebook.page.wait_for_function("before => document.activeElement !== before", arg=before)
        return await focus(notebook)

    seconds = find(".dgnb-field-duration input")
    assert await after(seconds, "panel.click('start')") == "❚❚ Pause"
    await notebook.wait_for("panel.session.state.value == 'open'")
    await notebook.ask("None", "panel.set(smart_format=True)")
    assert await after(find(".dgnb-field-smart_format .dgnb-reset"), "panel.click('undo')") == "Smart format"
    await notebook.ask("None", "panel.set(smart_format=True)")
    assert await after(notebook.button("Undo"), "panel.click('undo')") == "Reset interim_results"
    assert await after(find(".dgnb-captions"), "panel.tab = 'events'") == "Events"
    await notebook.button("Copy as code").click()
    assert await after(find(".dgnb-code"), "panel.set(smart_format=True)") == "Copy as code"
    await notebook.wait_for("panel.transcript.word_count > 0")
    await notebook.ask("None", "panel.click('stop')")
    assert await after(notebook.button("CSV"), "panel.click('start')") == "❚❚ Pause"
    await notebook.ask("None", "panel.click('stop')")
    await expect(find(".dgnb-status")).to_have_text("Stopped")
    await notebook.ask("None", "panel.set(source='A path or address')")
    assert await after(find(".dgnb-field-path input"), "panel.set(source='As given in code')") == "Source"
    await notebook.ask("None", "refusal = server.rejecting(400); refusal.__enter__(); panel.click('start')")
    await expect(find(".dgnb-error summary")).to_be_visible()
    await notebook.ask("None", "refusal.__exit__(None, None, None)")
    assert await after(find(".dgnb-error summary"), "panel.click('start')") == "❚❚ Pause"
    await expect(find(".dgnb-error")).to_be_hidden()

    # A field that people edit stays in sight, also where it is only shown because it differs from its default.
    await notebook.ask("None", "panel.set(numerals=True)")
    await find(".dgnb-field-numerals .dgnb-reset").click()
    await notebook.wait_for("not panel.values['numerals']")
    assert await focus(notebook) == "Numerals"
    await stop(notebook)


@in_lab
async def test_every_text_has_enough_contrast_in_the_light_and_in_the_dark(notebook: Notebook) -> None:
    await notebook.run(PANEL.replace("pace=4", "pace=4, diarize_model='latest'"))
    worst, counted = 99.0, 0

    async def look() -> None:
        nonlocal worst, counted
        found = await notebook.page.evaluate(CONTRAST)
        assert found["low"] == []
        worst, counted = min(worst, found["worst"]), counted + found["count"]

    async def theme(name: str) -> None:
        await notebook.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {name}"
        )
        background = {"Light": "rgb(255, 255, 255)", "Dark": "rgb(17, 17, 17)"}[name]
        await expect(notebook.find(".jp-NotebookPanel-notebook")).to_have_css("background-color", background)
        await notebook.page.wait_for_function(
            "dark => document.querySelector('.dgnb').classList.contains('dgnb-dark') === dark", arg=name == "Dark"
        )

    try:
        for name in ("Light", "Dark"):
            await theme(name)
            await start(notebook)
            await look()
            await notebook.find("[aria-controls$=others]").click()
            for tab in ("Words", "Timeline", "Events", "Captions"):
                await notebook.page.get_by_role("tab", name=tab).click()
                pane = notebook.find(f".dgnb-{tab.lower()}")
                await expect(pane).to_contain_text("Opened" if tab == "Events" else "three", ignore_case=True)
                await look()
            await notebook.ask("None", "panel.set(smart_format=True)")
            await expect(notebook.find(".dgnb-changes")).to_be_visible()
            await look()
            await stop(notebook)
            await notebook.ask(
                "None",
                "panel.set(endpoint='offline', language='de', diarize=True, duration='soon', endpointing='fast')",
            )
            await notebook.button("Copy as code").click()
            await notebook.find(".dgnb-field-model input").focus()
            for field in ("duration", "endpointing"):
                await expect(notebook.find(f".dgnb-field-{field} .dgnb-problem")).not_to_be_empty()
            await expect(notebook.find(".dgnb-field-language .dgnb-hint")).not_to_be_empty()
            await look()
            await notebook.find("[aria-controls$=others]").click()
            await notebook.ask(
                "None",
                "panel.set(endpoint='custom', language='en', diarize=False, duration='', endpointing='10',"
                " smart_format=False)",
            )
            await expect(notebook.find(".dgnb-field-duration .dgnb-problem")).to_be_empty()
    finally:
        await theme("Light")
    print(f"{counted} texts, the worst contrast is {worst:.2f}")
    assert counted > 500


# Each text node that came into the log, in order: what comes twice is another node.
HEARD = """() => {
    const heard = new Set();
    window.heard = () => [...heard].map(node => node.data).join('');
    new MutationObserver(records => {
        for (const added of records.flatMap(record => [...record.addedNodes])) {
            const texts = document.createTreeWalker(added, NodeFilter.SHOW_TEXT);
            for (let text = added.nodeType === 3 ? added : texts.nextNode(); text; text = texts.nextNode()) {
                if (!text.parentElement?.closest('.dgnb-at')) heard.add(text);
            }
        }
    }).observe(document.querySelector('.dgnb-captions [role=log]'), {childList: true, subtree: true});
}"""


@in_lab
async def test_a_line_that_grows_word_by_word_is_announced_once(notebook: Notebook) -> None:
    await notebook.run(
        "from dgnb.messages import Alternative, Channel, Results, Word\n"
        "captions = dgnb.LiveCaptions()\n"
        "captions.session = dgnb.LiveSession(b'x', endpoint='offline')\n"
        "def say(n, word):\n"
        "    heard = Channel((Alternative(word, 0.9, (Word(word, n, n + 0.5, 0.9),)),))\n"
        "    captions.session.transcript.feed(Results((0, 1), 1.0, float(n), heard, is_final=True))\n"
        "    captions.draw()\n"
        "captions"
    )
    log = notebook.find(".dgnb-captions [role=log]")
    await expect(log).to_be_attached()
    await notebook.page.evaluate(HEARD)
    for n, word in enumerate(("one", "two", "three")):
        await notebook.ask("None", f"say({n}, {word!r})")
        await expect(log).to_contain_text(word)
    assert (await notebook.page.evaluate("window.heard()")).split() == ["one", "two", "three"]


@in_lab
async def test_finals_and_states_are_announced_once_and_captions_follow_unless_one_scrolls(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    captions, page = notebook.find(".dgnb-captions"), notebook.page
    await captions.evaluate("box => { box.style.height = '5em'; }")
    await page.evaluate(HEARD)
    await page.evaluate(
        """() => {
            const status = document.querySelector('.dgnb-panel [role=status]');
            window.states = [];
            new MutationObserver(() => window.states.push(status.textContent)).observe(
                status, {childList: true, subtree: true, characterData: true});
        }"""
    )
    log = captions.get_by_role("log")
    await expect(log).to_have_attribute("aria-live", "polite")
    assert (
        await captions.evaluate("box => box.querySelector('[role=log] .dgnb-interim, [aria-live] .dgnb-interim')")
        is None
    )

    await start(notebook)
    at_end = "box => box.scrollTop + box.clientHeight > box.scrollHeight - 2"
    lines = "count => document.querySelectorAll('.dgnb-captions [role=log] p').length >= count"
    await page.wait_for_function(lines, arg=5)
    assert await captions.evaluate(at_end)
    await captions.hover()
    await page.mouse.wheel(0, -2000)
    await expect(captions).to_have_js_property("scrollTop", 0)
    now = await log.locator("p").count()
    await page.wait_for_function(lines, arg=now + 2)
    assert await captions.evaluate("box => box.scrollTop") == 0
    await page.mouse.wheel(0, 5000)
    await page.wait_for_function(f"({at_end})(document.querySelector('.dgnb-captions'))")
    await page.wait_for_function(lines, arg=now + 4)
    assert await captions.evaluate(at_end)
    await page.get_by_role("tab", name="Words").click()
    await page.wait_for_function(lines, arg=now + 6)
    await page.get_by_role("tab", name="Captions").click()
    await page.wait_for_function(f"({at_end})(document.querySelector('.dgnb-captions'))")
    await page.wait_for_function(lines, arg=now + 8)
    assert await captions.evaluate(at_end)
    await notebook.find(".dgnb-pause").click()
    await expect(notebook.find(".dgnb-status")).to_have_text("Paused")
    await notebook.find(".dgnb-pause").click()
    await stop(notebook)

    words = await notebook.ask("list(panel.transcript.words.word)")
    assert len(words) > 40
    await expect(captions.locator(".dgnb-interim")).to_be_empty()
    assert "".join((await page.evaluate("window.heard()")).split()) == "".join(words)
    states = await page.evaluate("window.states")
    assert [state for state in states if not state.startswith(("Connecting", "Waiting"))] == [
        *("Listening", "Paused", "Listening", "Stopped")
    ]
    assert all(one != other for one, other in itertools.pairwise(states))


@in_lab
@pytest.mark.parametrize("width", [400, 320])
async def test_a_narrow_panel_overflows_nowhere(notebook: Notebook, width: int) -> None:
    await notebook.run(PANEL)
    panel = notebook.find(".dgnb-panel")
    await notebook.find(".dgnb").evaluate("(one, width) => { one.style.width = `${width}px`; }", width)
    whole = {"wide": [], "covered": []}
    assert await panel.evaluate(OVERFLOW) == whole
    await start(notebook)
    await notebook.find("[aria-controls$=others]").click()
    for tab in ("Words", "Timeline", "Events", "Captions"):
        await notebook.page.get_by_role("tab", name=tab).click()
        await expect(notebook.find(f".dgnb-{tab.lower()}")).not_to_be_empty()
        assert await panel.evaluate(OVERFLOW) == whole
    await notebook.ask("None", "panel.set(smart_format=True, punctuate=True, endpointing='300')")
    await expect(notebook.find(".dgnb-changes")).to_be_visible()
    assert await panel.evaluate(OVERFLOW) == whole
    await stop(notebook)
    await notebook.ask(
        "None", "panel.set(duration='soon', endpointing='fast', source='A path or address', path='no/such/file.wav')"
    )
    await expect(notebook.find(".dgnb-field-path .dgnb-problem")).not_to_be_empty()
    await notebook.ask("None", "panel.error = {'name': 'ConnectFailed', 'text': 'x' * 90, 'report': 'y' * 200}")
    await expect(notebook.find(".dgnb-error")).to_be_visible()
    await notebook.find(".dgnb-error summary").click()
    assert await panel.evaluate(OVERFLOW) == whole
