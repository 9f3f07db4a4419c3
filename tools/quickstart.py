"""`make quickstart`: run the starter notebook from top to bottom and print its words."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

import dgnb

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "01_quickstart.ipynb"
OUT = ROOT / "build"


def main() -> int:
    """Run the notebook in `build/`, render it there, and print the words table."""
    OUT.mkdir(exist_ok=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    began = time.monotonic()
    print(f"Running {NOTEBOOK.relative_to(ROOT)}: 15 s of a radio station, then a recording …", flush=True)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(OUT)}},
        store_widget_state=False,
        # Hide what the kernel logs when it starts.
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    failed = None
    try:
        client.execute()
    except CellExecutionError as error:
        failed = error
    page = OUT / f"{NOTEBOOK.stem}.html"
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    if failed:
        print(f"\nThe notebook failed: {failed.ename}: {failed.evalue}\nSee {page}", file=sys.stderr)
        return 1
    transcript = dgnb.Transcript.load(OUT / "quickstart.jsonl")
    shown = ["punctuated_word", "start", "end", "confidence", "utterance"]
    print(f"\n{transcript.text}\n\n{transcript.words[shown].to_string()}\n")
    print(f"{len(transcript.words)} words in {time.monotonic() - began:.0f} s, by {_engine(transcript)}.")
    print(f"The rendered notebook: {page}\nNext: make lab")
    return 0


def _engine(transcript: dgnb.Transcript) -> str:
    """The model that recognised it, as the messages name it."""
    for message in transcript.messages:
        if isinstance(message, dgnb.messages.Results) and message.metadata and message.metadata.model_info:
            return f"{message.metadata.model_info.name} ({message.metadata.model_info.arch})"
    return "an unnamed model"


if __name__ == "__main__":
    sys.exit(main())
