"""The notebooks run from top to bottom on this machine alone, and are stored without outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import srt
from nbclient import NotebookClient

import dgnb

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _said(notebook: Any, cell_id: str) -> str:
    """The text outputs of a cell."""
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def _pictures(notebook: Any) -> set[str]:
    return {cell.id for cell in _cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})}


def _tables(cell: Any) -> list[list[int]]:
    """Of each table that a cell shows: how many values each of its rows has."""
    shown = (output.get("data", {}).get("text/html", "") for output in cell.outputs)
    bodies = [body for html in shown for body in re.findall(r"<tbody>(.*?)</tbody>", html, re.DOTALL)]
    return [[row.count("<td") for row in body.split("</tr>")[:-1]] for body in bodies]


def _quickstart(notebook: Any, folder: Path) -> None:
    assert " words in " in _said(notebook, "await-session")
    assert "130 words in" in _said(notebook, "transcribe")
    table = _said(notebook, "words").splitlines()
    assert table[0].split() == ["word", "start", "end", "confidence"]
    assert len(table) == 11
    assert _pictures(notebook) == {"timeline"}
    assert (folder / "quickstart.srt").read_text().startswith("1\n00:00:0")
    assert len(dgnb.Transcript.load(folder / "quickstart.jsonl").words) == 130


def _control_panel(notebook: Any, folder: Path) -> None:
    assert _said(notebook, "words").count("\n") == 5
    assert " words in " in _said(notebook, "stop")
    assert "await session" in _said(notebook, "code")


def _word_timings(notebook: Any, folder: Path) -> None:
    assert "words per minute" in _said(notebook, "transcribe")
    assert _said(notebook, "phrase").count("\n") >= 1
    assert "[5 rows" not in _said(notebook, "pauses")
    assert _said(notebook, "pauses").count("\n") == 5
    assert _said(notebook, "rate").count("\n") == 5
    assert "covered" in _said(notebook, "resample")
    assert _said(notebook, "speakers").splitlines()[1].split() == ["speaker", "man", "woman", "man", "woman"]
    assert "words in 8.0 s" in _said(notebook, "again")
    assert _pictures(notebook) == {"confidence", "rate-picture", "timeline"}


def _captions_and_exports(notebook: Any, folder: Path) -> None:
    assert len(list(srt.parse((folder / "talk.srt").read_text(encoding="utf-8")))) > 10
    assert _said(notebook, "webvtt").startswith("WEBVTT")
    assert _said(notebook, "csv").splitlines()[1].split() == ["0", "good", "0.672", "0.884", "0.6980"]
    assert _said(notebook, "save") == "The same words: True\nThe same text: True\n"
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
    assert "Seconds missing: 0.0" in _said(notebook, "gaps")
    assert "10.0 s acknowledged" in _said(notebook, "report")
    assert "1 reconnect\n" in _said(notebook, "report")
    assert "20.0 s acknowledged" in _said(notebook, "end")
    assert "The same words: True" in _said(notebook, "crash")
    assert "words in 9.0 s" in _said(notebook, "queue")
    assert _pictures(notebook) == {"overview"}


def _your_own_server(notebook: Any, folder: Path) -> None:
    assert "Did you mean 'wss://api.eu.deepgram.com'?" in _said(notebook, "typo")
    assert "401" in _said(notebook, "refused")
    assert "reconnecting" in _said(notebook, "faults")
    assert _said(notebook, "wire").rstrip().endswith("Metadata")
    assert "words in 22.5 s" in _said(notebook, "own")
    assert _pictures(notebook) == {"latency"}


def _listen(notebook: Any, folder: Path) -> None:
    assert "Each word has a start time" in _said(notebook, "transcribe")
    assert _said(notebook, "clip").startswith("<Clip: a WAV file of ")
    assert "Ada: good morning" in _said(notebook, "names")
    assert _said(notebook, "correct").split()[-4:] == ["Stop", "34.778", "35.168", "True"]
    assert _said(notebook, "record").endswith("<Clip: a WAV file of 3.00 s>")
    assert "The same words: True" in _said(notebook, "replay-end")
    assert "<Sound of station.flac>" in _said(notebook, "replay-end")
    for name in ("doubtful.wav", "station.flac", "station.jsonl"):
        assert (folder / name).stat().st_size > 500


def _recordings_and_turns(notebook: Any, folder: Path) -> None:
    assert "130 words in" in _said(notebook, "file")
    assert "Good morning and welcome" in _said(notebook, "paragraphs")
    assert _said(notebook, "metadata") == "(47.769, 1)"
    assert _said(notebook, "clip").startswith("<Clip: a WAV file of ")
    assert _said(notebook, "again") == "The same words: True\n"
    assert "is text, not audio" in _said(notebook, "wrong")
    assert "model" in _said(notebook, "turns")
    assert _said(notebook, "turn-clip").startswith("<Clip: a WAV file of ")


def _is_it_better(notebook: Any, folder: Path) -> None:
    assert _said(notebook, "compare").endswith(": .summary, .words, .diff(), .plot()>")
    assert _said(notebook, "summary").count("\n") == 3
    assert _pictures(notebook) == {"plot"}
    table = _said(notebook, "two").splitlines()[1:]
    assert [row.split()[2:] for row in table] == [["morning", "evening", "substitute"], ["live", "life", "substitute"]]
    assert "≠evening" in _said(notebook, "diff")


SHOWN = {
    "01_quickstart": _quickstart,
    "02_control_panel": _control_panel,
    "03_word_timings": _word_timings,
    "04_captions_and_exports": _captions_and_exports,
    "05_radio_for_an_hour": _radio_for_an_hour,
    "06_your_own_server": _your_own_server,
    "07_listen_where_you_read": _listen,
    "08_recordings_and_turns": _recordings_and_turns,
    "09_is_it_better": _is_it_better,
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
            assert not re.search(r"<NA>|NaN|NaT", shown), cell.source
            assert output.get("text", "").count("\n") <= 20, cell.source
        for rows in _tables(cell):
            assert 1 <= len(rows) <= 10, cell.source
            assert max(rows) <= 6, cell.source
    SHOWN[path.stem](notebook, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    for cell in _cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
