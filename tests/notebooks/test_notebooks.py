"""The notebooks run from top to bottom on this machine alone, and are stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
import srt
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _said(notebook: Any, cell_id: str) -> str:
    """The text outputs of a cell."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def _pictures(notebook: Any) -> set[str]:
    return {cell.id for cell in _cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})}


def _word_timings(notebook: Any, folder: Path) -> None:
    assert "words per minute" in _said(notebook, "transcribe")
    assert _said(notebook, "phrase").count("\n") >= 1
    assert "[5 rows" not in _said(notebook, "pauses")
    assert _said(notebook, "pauses").count("\n") == 5
    assert _said(notebook, "rate").count("\n") == 5
    assert _pictures(notebook) == {"confidence", "rate-picture", "timeline"}


def _captions_and_exports(notebook: Any, folder: Path) -> None:
    assert len(list(srt.parse((folder / "talk.srt").read_text(encoding="utf-8")))) > 10
    assert _said(notebook, "webvtt").startswith("WEBVTT")
    assert _said(notebook, "csv").startswith("The same rows: True")
    assert _said(notebook, "save") == "(True, True)"
    assert "punctuated_word" in _said(notebook, "json")
    for name in ("words.csv", "words.parquet", "talk.TextGrid", "talk.rttm", "talk.jsonl", "talk.png"):
        assert (folder / name).stat().st_size > 500
    assert _pictures(notebook) == {"picture"}


def _radio_for_an_hour(notebook: Any, folder: Path) -> None:
    assert _said(notebook, "meanwhile").count("interim:") == 5
    assert "latency" in _said(notebook, "meanwhile")
    events = _said(notebook, "break")
    assert events.count("opened") == 2
    assert "reconnecting" in events
    assert "were missed" in _said(notebook, "gaps")
    assert "10.0 s acknowledged" in _said(notebook, "report")
    assert "1 reconnect;" in _said(notebook, "report")
    assert "20.0 s acknowledged" in _said(notebook, "end")
    assert "words, True" in _said(notebook, "crash")
    assert _pictures(notebook) == {"overview"}


def _your_own_server(notebook: Any, folder: Path) -> None:
    assert "Did you mean 'wss://api.eu.deepgram.com'?" in _said(notebook, "typo")
    assert "402" in _said(notebook, "faults")
    assert "reconnecting" in _said(notebook, "faults")
    assert _said(notebook, "wire").rstrip().endswith("Metadata")
    assert "morning and welcome" in _said(notebook, "own")
    assert _pictures(notebook) == {"latency"}


SHOWN = {
    "03_word_timings": _word_timings,
    "04_captions_and_exports": _captions_and_exports,
    "05_radio_for_an_hour": _radio_for_an_hour,
    "06_your_own_server": _your_own_server,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        store_widget_state=False,
    )
    client.execute()
    for cell in _cells(notebook):
        assert cell.execution_count, cell.source
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            shown = output.get("data", {}).get("text/plain", "")
            assert "Empty DataFrame" not in shown, cell.source
    if path.stem in SHOWN:
        SHOWN[path.stem](notebook, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    for cell in _cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


def test_the_starter_notebook_gives_words_captions_and_a_picture(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    # Leave out the radio station: the test above spends its 15 s.
    notebook.cells = notebook.cells[: [cell.id for cell in notebook.cells].index("live")]
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert "recordings" in cells["transcribe"].outputs[-1].text
    assert "130 words in" in cells["transcribe"].outputs[1].data["text/plain"]
    table = cells["words"].outputs[0].data["text/plain"].splitlines()
    assert table[0].split() == ["word", "start", "end", "confidence"]
    assert len(table) == 11
    assert "image/png" in cells["timeline"].outputs[0].data
    assert (tmp_path / "quickstart.srt").read_text().startswith("1\n00:00:0")
