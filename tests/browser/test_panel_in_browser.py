"""What the control panel does on the screen: real clicks, in real notebooks, on each kernel that differs."""

from __future__ import annotations

import hashlib
import random
import re
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat import v4
from playwright.async_api import expect

from tests.browser.conftest import SETUP
from tests.support.front_ends import LAB, PLACES, Desk, Notebook, Place
from tests.support.panels import PANEL, press, start, stop

pytestmark = pytest.mark.asyncio(loop_scope="session")

everywhere = pytest.mark.parametrize("place", PLACES, ids=str)
in_lab = pytest.mark.parametrize("place", [LAB], ids=str)

STARTER = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


@everywhere
async def test_a_kernel_is_the_one_that_it_should_be(notebook: Notebook, place: Place) -> None:
    version = await notebook.ask("ipykernel.__version__", "import ipykernel")
    expected = {"ipykernel-6": r"6\.", "ipykernel-7.3": r"7\.3\.", "python3": r"(7\.([4-9]|\d\d)|[89]|\d\d)"}
    assert re.match(expected[place.kernel], version), version


@everywhere
async def test_start_shows_words_and_stop_ends_it_three_times_in_a_row(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await expect(notebook.find(".dgnb-status")).to_have_text("Ready")
    for turn in range(1, 4):
        await start(notebook)
        await expect(notebook.find(".dgnb-status")).to_have_text("Listening")
        await stop(notebook)
        assert await notebook.ask("panel.session.state.value") == "closed"
        assert await notebook.ask("len(server.connections)") == turn
        assert await notebook.ask("panel.transcript.text.startswith('one two')")
    await expect(notebook.find(".dgnb-error")).to_have_text("")


@everywhere
async def test_pause_holds_the_audio_back_until_resume(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    for _ in range(2):
        await notebook.find(".dgnb-pause").click()
        await expect(notebook.find(".dgnb-status")).to_have_text("Paused")
        assert await notebook.ask("panel.session.paused")
        before = await notebook.ask("panel.session.audio_cursor")
        assert await notebook.ask("panel.session.audio_cursor", "await asyncio.sleep(0.3)") == before
        await notebook.button("▶ Resume").click()
        await expect(notebook.find(".dgnb-status")).to_have_text("Listening")
        await notebook.wait_for(f"panel.session.audio_cursor > {before}")
    await stop(notebook)


@everywhere
async def test_applied_options_go_on_in_the_same_transcript(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    before = await notebook.ask("panel.session.audio_cursor", "transcript = panel.transcript")
    await notebook.page.get_by_role("checkbox", name="smart_format").check()
    await expect(notebook.find(".dgnb-effect")).to_have_text("smart_format: reconnects without a gap")
    await notebook.button("Apply 1 change").click()
    await notebook.wait_for("len(server.connections) == 2 and server.connections[-1].options.smart_format")
    await notebook.wait_for(f"transcript.words.start.max() > {before} + 1")
    assert await notebook.ask("panel.transcript is transcript and transcript.words.start.is_monotonic_increasing")
    assert await notebook.ask("len(transcript.gaps)") == 0
    await expect(notebook.find(".dgnb-changes")).to_be_hidden()
    await stop(notebook)


@in_lab
async def test_a_model_of_flux_shows_sliders_that_keys_move(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    model, number = notebook.find(".dgnb-field-model input"), notebook.find(".dgnb-field-eot_threshold .dgnb-number")
    await model.fill("flux-general-en")
    await expect(number).to_have_text("0.7")
    await expect(model).to_be_focused()
    await expect(notebook.find(".dgnb-field-endpointing")).to_be_hidden()
    eager = notebook.page.get_by_role("slider", name="Eager end-of-turn threshold")
    await expect(eager).to_be_disabled()
    await notebook.page.get_by_role("checkbox", name="Eager end-of-turn threshold on").check()
    for _ in range(30):
        await eager.press("ArrowRight")
    await expect(eager).to_have_attribute("aria-valuetext", "0.8")
    await expect(notebook.find(".dgnb-field-eager_eot_threshold .dgnb-problem")).to_contain_text(
        "at most eot_threshold"
    )
    await notebook.page.get_by_role("slider", name="End-of-turn threshold eot_threshold", exact=True).press("End")
    await expect(notebook.find(".dgnb-field-eager_eot_threshold .dgnb-problem")).to_have_text("")
    assert await notebook.ask("repr(panel.options())") == "FluxOptions(eot_threshold=1.0, eager_eot_threshold=0.8)"
    await model.fill("nova-3")
    await expect(number).to_be_hidden()
    assert await notebook.ask("repr(panel.options())") == "LiveOptions(interim_results=True)"


@in_lab
async def test_keep_and_compare_shows_two_runs_of_the_same_sound(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    await notebook.page.get_by_role("checkbox", name="smart_format").check()
    await notebook.button("Keep and compare").click()
    rows = notebook.find(".dgnb-compared tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("smart_format")
    assert await notebook.ask("list(panel.comparison.summary.words.notna())") == [True, True]
    await expect(notebook.find(".dgnb-status")).to_have_text("Stopped")


@everywhere
async def test_an_error_is_shown_with_its_remedy_and_start_works_again(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await notebook.ask("None", "refusal = server.rejecting(401); refusal.__enter__()")
    for turn in range(1, 3):
        await press(notebook)
        # What the first turn showed may still stand there in the second.
        await notebook.wait_for(f"len(server.requests) == {turn} and not panel.running")
        await expect(notebook.find(".dgnb-field-key .dgnb-problem")).to_contain_text("refused with 401")
        await expect(notebook.find(".dgnb-status")).to_have_text("Failed")
    await notebook.ask("None", "refusal.__exit__(None, None, None)")
    await start(notebook)
    await expect(notebook.find(".dgnb-field-key .dgnb-problem")).to_have_text("")
    await stop(notebook)
    # What failed is told in the pane, and nowhere else.
    assert await notebook.find(".jp-OutputArea-output[data-mime-type*=stderr]").count() == 0


@everywhere
async def test_twenty_quick_clicks_on_start_make_one_connection(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await notebook.find(".dgnb-toggle").evaluate("button => { for (let i = 0; i < 20; i++) button.click(); }")
    await expect(notebook.find(".dgnb-captions")).to_contain_text("one")
    await stop(notebook)
    assert await notebook.ask("len(server.connections)") == 1


@everywhere
async def test_running_the_cell_again_leaves_one_live_connection(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    await notebook.ask("None", "first = panel")
    await notebook.begin(0)
    await notebook.wait_for("panel is not first and first.session.state.value == 'closed'")
    await expect(notebook.find(".dgnb-status")).to_have_text("Ready")
    await start(notebook)
    assert await notebook.ask("[server.active, len(server.connections)]") == [1, 2]
    await stop(notebook)


@everywhere
async def test_a_reloaded_page_shows_captions_and_buttons_again(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    await notebook.find(".dgnb-pause").click()
    await expect(notebook.button("▶ Resume")).to_be_enabled()
    await notebook.save()
    await notebook.reload()
    await expect(notebook.find(".dgnb-captions")).to_contain_text("one two three")
    await expect(notebook.find(".dgnb-status")).to_have_text("Paused")
    await notebook.button("▶ Resume").click()
    await expect(notebook.find(".dgnb-status")).to_have_text("Listening")
    await stop(notebook)
    assert await notebook.ask("len(server.connections)") == 1


@in_lab
async def test_start_and_stop_are_handled_while_another_cell_awaits(notebook: Notebook) -> None:
    closed = "panel.session is not None and panel.session.state.value == 'closed'"
    await notebook.set_cells(PANEL, f"while not ({closed}):\n    await asyncio.sleep(0.05)")
    await notebook.begin(0)
    await notebook.end(0)
    await notebook.begin(1)
    await expect(notebook.find(".jp-InputPrompt").nth(1)).to_have_text("[*]:")
    # Not start(), which asks the kernel: what is asked waits behind the cell, unlike what is clicked.
    await press(notebook)
    await expect(notebook.find(".dgnb-captions")).to_contain_text("one two three")
    await expect(notebook.find(".jp-InputPrompt").nth(1)).to_have_text("[*]:")
    await stop(notebook)
    await notebook.end(1)


@in_lab
async def test_markup_in_captions_errors_and_file_names_is_shown_and_not_run(notebook: Notebook) -> None:
    script, image = "<script>window.ran=1</script>", "<img/src=x/onerror=window.ran=1>"
    named = "<img src=x onerror=window.ran=1>.wav"
    await notebook.ask("None", f"other = await FaultyServer(Script({f'{script} {image}'!r})).__aenter__()")
    await notebook.run(
        "panel = dgnb.ControlPanel(silence, endpoint=other.url, punctuate=True)\npanel",
        f"missing = dgnb.ControlPanel({named!r}, endpoint=other.url)\nmissing",
    )
    captions = notebook.find(".dgnb-captions").first
    await press(notebook, 0)
    await expect(captions).to_contain_text(script)
    await expect(captions).to_contain_text(image)
    await press(notebook, 0)
    await expect(notebook.find(".dgnb-status").nth(0)).to_have_text("Stopped")

    await press(notebook, 1)
    await expect(notebook.find(".dgnb-field-path .dgnb-problem").nth(1)).to_contain_text(named)
    await notebook.ask("None", f"refusal = other.rejecting(400, {image!r}); refusal.__enter__()")
    await press(notebook, 0)
    await expect(notebook.find(".dgnb-error").first).to_contain_text(image)
    await notebook.ask("None", "await other.__aexit__(None, None, None)")

    # An image of which we know that it runs comes after all of these.
    await notebook.page.evaluate(
        "() => document.querySelector('.dgnb-captions').insertAdjacentHTML('beforeend', "
        "'<img src=x onerror=window.control=1>')"
    )
    await notebook.page.wait_for_function("window.control === 1")
    assert await notebook.page.evaluate("window.ran === undefined")
    notebook.errors.clear()  # there is no such image


@in_lab
async def test_a_typed_key_is_in_no_saved_notebook(notebook: Notebook) -> None:
    canary = "canary0123456789abcdef"
    await notebook.run(PANEL)
    field = notebook.find(".dgnb-field-key input")
    await notebook.page.evaluate(
        "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    )
    await field.press_sequentially(canary)
    typing = await notebook.save()
    await field.press("Enter")
    await expect(field).to_have_value("")
    await start(notebook)
    running = await notebook.save()
    await stop(notebook)
    await notebook.button("Copy as code").click()
    await expect(notebook.find(".dgnb-code")).to_have_value(re.compile("getpass"))
    closed = await notebook.save()
    await notebook.page.evaluate(
        "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    )
    for saved in (typing, running, closed):
        assert "application/vnd.jupyter.widget-state+json" in saved
        assert "Deepgram key" in saved  # the state of the panel
        assert canary not in saved
    assert await notebook.ask("panel.code().count('getpass(')") == 1


async def test_a_typed_key_is_in_no_notebook_that_nbclient_executed() -> None:
    canary = "canary0123456789abcdef"
    half = len(canary) // 2
    typed = f"panel._handle_custom_msg({{'do': 'key', 'key': {canary[:half]!r} + {canary[half:]!r}}}, [])"
    cells = ["import dgnb\npanel = dgnb.ControlPanel(endpoint='deepgram', api_key='other')\npanel", typed, "panel"]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    await NotebookClient(notebook, kernel_name="python3", store_widget_state=True).async_execute()
    assert "typed here" in str(notebook.metadata.widgets)
    assert canary not in str(notebook)


@in_lab
async def test_start_shows_that_it_listens_and_the_first_caption_at_once(
    notebook: Notebook, record_property: Callable[[str, object], None]
) -> None:
    await notebook.run(PANEL.replace("pace=4", "pace=1"))
    await start(notebook)  # the first start of a kernel loads modules
    await stop(notebook)
    await notebook.page.evaluate(
        """() => {
            const [toggle, status, captions] = ['toggle', 'status', 'captions'].map(
                name => document.querySelector(`.dgnb-${name}`));
            const at = window.at = {};
            toggle.addEventListener('click', () => { at.clicked ??= Date.now(); }, true);
            new MutationObserver(() => {
                if (at.clicked && status.textContent === 'Listening') at.listening ??= Date.now();
                if (at.listening && captions.textContent.includes('one')) at.shown ??= Date.now();
            }).observe(toggle.closest('.dgnb-panel'), {childList: true, subtree: true, characterData: true});
        }"""
    )
    await start(notebook)
    at = {name: moment / 1000 for name, moment in (await notebook.page.evaluate("window.at")).items()}
    received = await notebook.ask(
        "panel.transcript.results.query('transcript.str.contains(\"one\")').received_at.iloc[0].timestamp()"
    )
    await stop(notebook)
    figures = {
        "click to Listening": at["listening"] - at["clicked"],
        "click to first caption": at["shown"] - at["clicked"],
        "message to caption": at["shown"] - received,
    }
    for name, seconds in figures.items():
        record_property(name, round(seconds, 3))
        print(f"{name}: {seconds:.3f} s")
    assert 0 < figures["click to Listening"] < 1.5
    assert 0 < figures["click to first caption"] < 3
    assert 0 <= figures["message to caption"] < 1


@in_lab
async def test_each_wrong_field_is_told_at_its_place_and_gone_when_mended(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    page, find = notebook.page, notebook.find
    await page.get_by_label("Source", exact=True).select_option("A path or address")
    right = {"path": "", "duration": "", "endpointing": "300", "utterance_end_ms": "1000", "sample_rate": ""}
    wrong = {
        "path": "no/such.wav",
        "duration": "soon",
        "endpointing": "fast",
        "utterance_end_ms": "1",
        "sample_rate": "x",
    }
    await find("[aria-controls$=others]").click()
    for name, value in wrong.items():
        await find(f".dgnb-field-{name} input").fill(value)
    await find("[aria-controls$=others]").click()
    for name in wrong:
        await expect(find(f".dgnb-field-{name} .dgnb-problem")).not_to_be_empty()
        await expect(find(f".dgnb-field-{name} input")).to_have_attribute("aria-invalid", "true")
    await press(notebook)
    await expect(find(".dgnb-wrong input:focus")).to_have_count(1)
    assert not await notebook.ask("panel.running")
    await page.get_by_label("Source", exact=True).select_option("As given in code")
    for name, value in right.items():
        if name != "path":
            await find(f".dgnb-field-{name} input").fill(value)
            await expect(find(f".dgnb-field-{name} .dgnb-problem")).to_be_empty()
    await expect(find(".dgnb-wrong")).to_have_count(0)
    await start(notebook)
    await stop(notebook)


@in_lab
async def test_a_missing_key_is_asked_for_where_it_is_typed(notebook: Notebook) -> None:
    own = "from dgnb import account\nmodels = account.models\n"
    await notebook.ask("None", f"{own}account.models = lambda endpoint: models(endpoint=server.url, api_key='any')")
    await notebook.run("panel = dgnb.ControlPanel(silence)\npanel", "panel")
    await notebook.page.get_by_label("Endpoint", exact=True).first.select_option("Deepgram")
    key, problem = notebook.find(".dgnb-field-key input"), notebook.find(".dgnb-field-key .dgnb-problem")
    await press(notebook, 1)
    await expect(key.nth(1)).to_be_focused()  # in the view where Start was clicked
    await expect(problem.nth(1)).to_contain_text("key")
    await notebook.page.keyboard.type("canary0123456789")
    await notebook.page.keyboard.press("Enter")
    await expect(problem.nth(1)).to_be_empty()
    await expect(notebook.find(".dgnb-field-key input").first).to_have_attribute(
        "placeholder", re.compile("typed here")
    )
    # Now that there is a key, the service is asked for its models.
    await notebook.wait_for("panel.fields['models']")
    name = await notebook.ask("panel.fields['models'][0][0]", "account.models = models")
    await expect(notebook.find(f".dgnb-field-model datalist option[value='{name}']")).to_have_count(2)


@in_lab
async def test_two_views_of_a_panel_show_the_same_and_each_works(notebook: Notebook) -> None:
    await notebook.run(PANEL, "panel", PANEL.replace("panel", "other"))
    find, page = notebook.find, notebook.page
    names = "() => [...document.querySelectorAll('.dgnb-panel [id]')].map(one => one.id)"
    ids = await page.evaluate(names)
    assert len(ids) == len(set(ids)) > 300
    await page.get_by_role("checkbox", name="Punctuate").nth(1).check()
    await expect(page.get_by_role("checkbox", name="Punctuate").first).to_be_checked()
    await expect(page.get_by_role("checkbox", name="Punctuate").nth(2)).not_to_be_checked()
    await press(notebook, 0)
    for index in (0, 1):
        await expect(find(".dgnb-captions").nth(index)).to_contain_text("two three", ignore_case=True)
        await expect(find(".dgnb-status").nth(index)).to_have_text("Listening")
    await expect(find(".dgnb-status").nth(2)).to_have_text("Ready")
    await press(notebook, 1)
    for index in (0, 1):
        await expect(find(".dgnb-status").nth(index)).to_have_text("Stopped")
        await expect(find(".dgnb-result").nth(index)).to_be_visible()

    # Files arrive, and once: only the view that was clicked saves.
    arrived = []
    page.on("download", lambda download: arrived.append(download))
    for label, call, index in (("Captions .srt", "to_srt", 0), ("CSV", "to_csv", 1)):
        async with page.expect_download() as download:
            await notebook.button(label).nth(index).click()
        saved = await (await download.value).path()
        assert saved.read_bytes() == (await notebook.ask(f"panel.transcript.{call}()")).encode()
        assert (await download.value).suggested_filename == f"transcript.{call[3:]}"
    assert await notebook.ask("'-->' in panel.transcript.to_srt()")
    await notebook.button("Words table").nth(1).click()
    await expect(find(".dgnb-words tbody tr").first).to_contain_text("one")
    assert len(arrived) == 2


@in_lab
async def test_copying_reaches_the_clipboard_and_without_one_the_text_is_shown_and_selected(notebook: Notebook) -> None:
    page = notebook.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await notebook.run(PANEL)
    await start(notebook)
    await stop(notebook)
    read, code = "() => navigator.clipboard.readText()", notebook.find(".dgnb-code")
    await notebook.button("Copy as code").click()
    await expect(notebook.find(".dgnb-copied")).to_have_text("Copied")
    assert await page.evaluate(read) == await notebook.ask("panel.code()")
    await notebook.button("Copy panel.transcript.words").click()
    await page.wait_for_function(f"async () => await ({read})() === 'panel.transcript.words'")

    await notebook.page.get_by_role("checkbox", name="Diarize").check()
    await expect(code).to_be_hidden()  # it does something else now
    await page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    selected = "box => box === document.activeElement && box.value.slice(box.selectionStart, box.selectionEnd)"
    await notebook.button("Copy as code").click()
    await expect(notebook.find(".dgnb-copied")).to_contain_text("Ctrl+C")
    assert await code.evaluate(selected) == await notebook.ask("panel.code()")
    await notebook.button("Copy panel.transcript.words").click()
    await expect(code).to_have_value("panel.transcript.words")
    assert await code.evaluate(selected) == "panel.transcript.words"


@in_lab
async def test_a_file_of_the_browser_is_sent_whole_and_another_source_can_follow(
    notebook: Notebook, tmp_path: Path
) -> None:
    path = tmp_path / "talk.wav"
    samples = random.Random(7).randbytes(3_000_000)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples)
    await notebook.run(PANEL.replace("pace=4", f"pace=None, journal={str(tmp_path / 'journal')!r}"))
    find = notebook.find
    source, upload = notebook.page.get_by_label("Source", exact=True), find(".dgnb-field-upload input")
    await source.select_option("A file of this browser")
    await press(notebook)
    await expect(find(".dgnb-field-upload .dgnb-problem")).to_contain_text("No file was chosen")
    await upload.set_input_files(path)
    await expect(find(".dgnb-uploaded")).to_have_text("talk.wav, 3.0 of 3.0 MB")
    await expect(find(".dgnb-field-upload .dgnb-problem")).to_be_empty()
    await press(notebook)
    await expect(find(".dgnb-status")).to_have_text("Stopped")
    assert await notebook.ask("server.connections[-1].bytes_received") == len(samples)
    assert hashlib.sha256(samples).hexdigest() in (tmp_path / "journal").read_text()  # as the server heard it

    await upload.set_input_files([])
    await expect(find(".dgnb-uploaded")).to_be_empty()
    await press(notebook)
    await expect(find(".dgnb-field-upload .dgnb-problem")).to_contain_text("No file was chosen")
    await source.select_option("As given in code")
    await expect(find(".dgnb-wrong")).to_have_count(0)
    await press(notebook)
    await notebook.wait_for("len(server.connections) == 2 and 'one two' in panel.transcript.text")
    await expect(find(".dgnb-status")).to_have_text("Stopped")


@in_lab
async def test_a_kernel_that_restarts_leaves_room_for_a_new_panel(notebook: Notebook) -> None:
    await notebook.run(PANEL)
    await start(notebook)
    await notebook.page.evaluate("() => dgnb.kernel().restart()")
    await notebook.page.wait_for_function("dgnb.ready()")
    await press(notebook)
    await expect(notebook.find(".dgnb-error")).to_contain_text("Run the cell again")
    await notebook.ask("None", SETUP)
    await notebook.run(PANEL)
    await expect(notebook.find(".dgnb-panel")).to_have_count(1)
    await start(notebook)
    assert await notebook.ask("len(server.connections)") == 1
    await stop(notebook)


@pytest.mark.timeout(240)
async def test_run_all_finishes_in_the_starter_notebook(desk: Desk) -> None:
    notebook = await desk.open(LAB, STARTER)
    await notebook.page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    await notebook.page.wait_for_function(
        "() => dgnb.cells().every((cell, index) => cell.model.type !== 'code' || dgnb.finished(index))",
        timeout=120_000,
    )
    errors = await notebook.page.evaluate(
        """() => dgnb.cells().filter(cell => cell.model.type === 'code').flatMap(cell => cell.model.outputs.toJSON())
            .filter(output => output.output_type === 'error')"""
    )
    assert errors == []
    assert await notebook.ask("len(session.transcript.words) > 10")
    await notebook.page.context.close()
