"""What Tab offers in an IPython of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHELL = """
import sys
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("import dgnb").raise_error()
with provisionalcompleter():
    for text in sys.argv[1:]:
        print(*(completion.text for completion in shell.Completer.completions(text, len(text))))
"""
CASES = {
    'dgnb.LiveOptions(model="nova-3-m': "nova-3-medical",
    "session = dgnb.LiveSession('a.wav', language = 'en-": "en-GB en-US",
    "await dgnb.transcribe('a.wav',\n    encoding='linear": "linear16 linear32",
    "dgnb.LiveOptions(redact=['pc": "pci",
    "dgnb.LiveOptions(**{'diarize_model': 'l": "latest",
    "dgnb.ControlPanel(endpoint='off": "offline",
    "await dgnb.transcribe('a.wav', smart_f": "smart_format=",
    "dgnb.LiveOptions(utter": "utterance_end_ms=",
    "dgnb.LiveSession('a.wav', interim": "interim_results=",
    "dgnb.ControlPanel(profan": "profanity_filter=",
    "dgnb.LiveOptions(model='zzz": "",
}


@pytest.fixture(scope="module")
def offered() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHELL, *CASES], capture_output=True, text=True, check=True, timeout=60
    )
    return dict(zip(CASES, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("typed", CASES)
def test_tab_offers_options_and_their_values(typed: str, offered: dict[str, str]) -> None:
    assert offered[typed] == CASES[typed]
