"""The notebooks run from top to bottom as they are, with nothing but this machine, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def _cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


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
            told = output.get("text", "") if output.get("name") == "stderr" else ""
            assert not told or "Transcribing with the offline engine" in told, told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    for cell in _cells(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


def test_the_starter_notebook_leaves_words_captions_and_a_picture(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    # The radio takes its 15 s in the test above; here only what comes before it.
    notebook.cells = notebook.cells[: [cell.id for cell in notebook.cells].index("live")]
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert "recordings" in cells["transcribe"].outputs[-1].text
    assert "[130 rows" in cells["words"].outputs[0].data["text/plain"]
    assert "image/png" in cells["timeline"].outputs[0].data
    assert (tmp_path / "quickstart.srt").read_text().startswith("1\n00:00:0")
