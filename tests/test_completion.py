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
    "dgnb.FluxOptions(model='": "flux-general-en flux-general-multi",
    "dgnb.LiveSession('a.wav', model='fl": "flux-general-en flux-general-multi",
    "dgnb.FluxOptions(redact=['": "aggressive_numbers numbers",
    "dgnb.PrerecordedOptions(summarize='": "true v2",
    "await dgnb.transcribe_file('a.wav', custom_intent_mode='": "extended strict",
    "dgnb.FluxOptions(eag": "eager_eot_threshold=",
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


FORGOTTEN = """
import gc, sys, warnings
from IPython.core.interactiveshell import InteractiveShell

warnings.simplefilter("ignore")
shell = InteractiveShell.instance()
shell.run_cell("import dgnb; session = dgnb.LiveSession(bytes(3200), encoding='linear16', sample_rate=16000)")
for text in sys.argv[1:]:
    print(shell.display_formatter.format(eval(text, shell.user_ns))[0]["text/plain"])
"""


def test_a_forgotten_await_is_told_by_the_value_of_the_cell() -> None:
    calls = ["dgnb.transcribe('a.wav')", "session.stop()", "dgnb.connect(dgnb.LiveOptions())", "(lambda: 1)()"]
    done = subprocess.run([sys.executable, "-c", FORGOTTEN, *calls], capture_output=True, text=True, check=True)
    forgotten = [line for line in done.stdout.splitlines() if line.startswith("<")]
    assert forgotten[:2] == [
        "<not awaited: write `await dgnb.transcribe(…)`>",
        "<not awaited: write `await session.stop(…)`>",
    ]
    assert "await dgnb.connect(…)" in forgotten[2]
    assert done.stdout.splitlines()[-1] == "1"
