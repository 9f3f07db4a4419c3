"""`import dgnb` loads no heavy package."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pandas", "numpy", "matplotlib", "ipywidgets", "av", "aiohttp", "websockets", "faster_whisper", "asyncio")


def loaded(statement: str) -> set[str]:
    """The heavy packages that are loaded after a statement in a fresh interpreter."""
    program = f"{statement}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_import_dgnb_loads_no_heavy_package() -> None:
    assert loaded("import dgnb") == set()


@pytest.mark.parametrize("name", ["LiveOptions", "AudioError", "FileSource", "URLSource", "Transcript", "messages"])
def test_using_a_light_name_loads_no_heavy_package(name: str) -> None:
    assert loaded(f"import dgnb; dgnb.{name}") <= {"asyncio"}


def test_naming_a_session_loads_neither_pandas_nor_widgets() -> None:
    assert loaded("import dgnb; dgnb.transcribe, dgnb.LiveSession") <= {"asyncio", "websockets"}
