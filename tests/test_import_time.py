"""Importing dgnb loads none of what is heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pandas", "numpy", "matplotlib", "ipywidgets", "av", "aiohttp", "websockets", "faster_whisper", "asyncio")


def loaded(statement: str) -> set[str]:
    """Which of the heavy packages are there after a statement in a fresh interpreter."""
    program = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded("import dgnb") == set()


@pytest.mark.parametrize("name", ["LiveOptions", "AudioError", "FileSource", "URLSource", "Transcript", "messages"])
def test_using_a_name_that_needs_nothing_heavy_loads_nothing_heavy(name: str) -> None:
    assert loaded(f"import dgnb; dgnb.{name}") <= {"asyncio"}


def test_a_session_can_be_named_without_pandas_and_widgets() -> None:
    assert loaded("import dgnb; dgnb.transcribe, dgnb.LiveSession") <= {"asyncio", "websockets"}
