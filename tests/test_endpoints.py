from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dgnb
from dgnb import endpoints
from dgnb.connection import connect
from dgnb.endpoints import Secret, choose
from dgnb.exceptions import ConfigurationError
from tests.support.tracebacks import awaited, shown

CANARY = "canary0123456789"


def test_without_a_key_the_offline_engine_is_chosen_and_says_why() -> None:
    endpoint = choose()
    assert endpoint.kind == "offline"
    assert "no key" in endpoint.reason
    assert str(endpoint).startswith("the offline engine on this machine")


def test_a_key_in_the_environment_chooses_deepgram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", CANARY)
    endpoint = choose()
    assert (endpoint.kind, endpoint.url) == ("deepgram", "wss://api.deepgram.com")
    assert endpoint.key is not None
    assert endpoint.key.reveal() == CANARY
    assert "DEEPGRAM_API_KEY" in endpoint.reason


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "of-the-environment")
    endpoint = choose(api_key=CANARY)
    assert endpoint.key is not None
    assert endpoint.key.reveal() == CANARY
    assert endpoint.key_origin == "api_key="


def test_the_environment_can_name_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", CANARY)
    monkeypatch.setenv("DGNB_ENDPOINT", "offline")
    assert choose().kind == "offline"
    assert choose("deepgram").kind == "deepgram"


def test_deepgram_without_a_key_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"DEEPGRAM_API_KEY.*endpoint='offline'"):
        choose("deepgram")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("wss://api.eu.deepgram.com", "wss://api.eu.deepgram.com"),
        ("wss://api.eu.deepgram.com/", "wss://api.eu.deepgram.com"),
        ("wss://host:8443/stt/v1/listen", "wss://host:8443/stt"),
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080"),
        ("ws://localhost:8080/v1/listen", "ws://localhost:8080"),
        ("ws://[::1]:8080", "ws://[::1]:8080"),
    ],
)
def test_an_address_is_a_base(given: str, url: str) -> None:
    endpoint = choose(given)
    assert (endpoint.kind, endpoint.url) == ("custom", url)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("deepgrm", "Did you mean 'deepgram'"),
        ("Offline", "Did you mean 'offline'"),
        ("https://api.deepgram.com", "Did you mean 'wss://api.deepgram.com'"),
        ("http://127.0.0.1:80", "Did you mean 'ws://127.0.0.1:80'"),
        ("ftp://host", "Did you mean 'wss://host'"),
        ("wss://", "an address such as"),
        ("wss://host:99999", "no valid host and port"),
        ("wss://user:canary@host", "api_key="),
        ("wss://host?model=nova-3", "LiveOptions"),
        ("ws://example.org", "in clear"),
        ("ws://10.0.0.1", "in clear"),
        ("ws://127.0.0.1.example.org", "in clear"),
        ("ws://127.0.0.1@example.org", "api_key="),
        ("ws://example.org\\@127.0.0.1", "api_key="),
        ("ws://example.org#127.0.0.1", "LiveOptions"),
        ("ws://0.0.0.0", "in clear"),
        ("ws://[::]", "in clear"),
        ("ws://127.1", "in clear"),
        ("ws://2130706433", "in clear"),
        ("ws://[::ffff:10.0.0.1]", "in clear"),
        ("ws://localhost.example.org", "in clear"),
        ("ws://xlocalhost", "in clear"),
        ("file:///etc/passwd", "an address such as"),
        ("https://api.deepgram.com?token=canary", "LiveOptions"),
        ("", "an address such as"),
        (7, "not 7"),
    ],
)
def test_a_wrong_endpoint_is_refused_before_any_io(given: object, told: str) -> None:
    with pytest.raises(ConfigurationError, match=r"endpoint|ws://") as caught:
        choose(given)  # type: ignore[arg-type]
    assert told in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "schlüssel", "nul\0", 5, Secret("line\nbreak")])
def test_a_malformed_key_is_refused_without_showing_it(key: object) -> None:
    with pytest.raises(ConfigurationError, match="api_key=") as caught:
        choose("deepgram", key)  # type: ignore[arg-type]
    assert "line" not in str(caught.value).replace("online", "")


def test_white_space_around_a_key_is_removed() -> None:
    endpoint = choose(api_key=f" {CANARY}\n")
    assert endpoint.key is not None
    assert endpoint.key.reveal() == CANARY


def test_a_blank_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "  ")
    assert choose().kind == "offline"
    assert choose("offline").kind == "offline"


def test_the_environments_key_is_not_sent_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", CANARY)
    assert choose("ws://127.0.0.1:8080").key is None
    given = choose("ws://127.0.0.1:8080", "for-this-server").key
    assert given is not None
    assert given.reveal() == "for-this-server"
    eu = choose("wss://api.eu.deepgram.com").key
    assert eu is not None
    assert eu.reveal() == CANARY


async def test_a_self_hosted_server_gets_a_key_that_is_not_empty() -> None:
    address = await choose("ws://127.0.0.1:8080").locate()
    assert re.fullmatch(r"Token \w+", address.authorization)


def test_no_text_of_a_secret_shows_the_key() -> None:
    secret = Secret(CANARY)
    endpoint = choose("deepgram", CANARY)
    shown = f"{secret} {secret!r} {secret!s:>5} {[secret]} {endpoint} {endpoint!r} {dir(secret)}"
    assert CANARY not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)


async def test_a_servers_words_are_shown_without_the_key() -> None:
    address = await choose("wss://example.org", CANARY).locate()
    assert address.masked(f"no: {CANARY}, {CANARY}") == "no: <key>, <key>"
    keyless = await choose("wss://example.org").locate()
    assert keyless.masked("none of that") == "none of that", "where there is no key, no word is one"
    assert CANARY not in repr(address)


def test_an_object_that_holds_a_key_is_neither_copied_nor_pickled() -> None:
    endpoint = choose("deepgram", CANARY)
    for make in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not pickled") as caught:
            make(endpoint)  # type: ignore[operator]
        assert CANARY not in repr(caught.value)
    assert CANARY not in repr(copy.copy(endpoint))


# A key in a cell


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells of a notebook that has not warned yet."""
    cells = ["import dgnb"]
    shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=cells))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(endpoints, "_warned_of", set())
    return cells


def test_a_key_in_a_cell_gives_one_warning(notebook: list[str], caplog: pytest.LogCaptureFixture) -> None:
    notebook.append(f"session = dgnb.LiveSession(source, api_key='{CANARY}')")
    choose(api_key=CANARY)
    choose("deepgram", CANARY)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dgnb", "WARNING")
    assert "DEEPGRAM_API_KEY" in record.getMessage()
    assert CANARY not in caplog.text


def test_a_cell_that_sets_the_variable_gives_a_warning(
    notebook: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", CANARY)
    choose()
    assert not caplog.records
    notebook.append(f"os.environ['DEEPGRAM_API_KEY'] = '{CANARY}'")
    choose()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("cell", ["dgnb.transcribe('a.wav', api_key=key)", "# canary", ""])
def test_a_key_from_elsewhere_gives_no_warning(
    notebook: list[str], caplog: pytest.LogCaptureFixture, cell: str
) -> None:
    notebook.append(cell)
    choose(api_key=CANARY)
    choose("ws://127.0.0.1:1", "canary")
    assert not caplog.records, "a short one may be any word"


@pytest.mark.parametrize("ipython", [None, SimpleNamespace(), SimpleNamespace(get_ipython=lambda: None)])
def test_outside_a_notebook_there_is_no_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ipython: object
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert choose(api_key=CANARY).kind == "deepgram"
    assert not caplog.records


def test_a_real_shell_warns_and_ipython_is_not_imported_for_it(tmp_path: Path) -> None:
    code = f"""
import sys
import traceback
import dgnb.endpoints
dgnb.endpoints.choose(api_key={CANARY!r})
assert "IPython" not in sys.modules
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for _ in range(2):
    shell.run_cell("import dgnb.endpoints; dgnb.endpoints.choose(api_key={CANARY!r})", store_history=True)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr.count("The key is written in a cell") == 1
    assert CANARY not in ran.stderr


def test_an_access_token_is_sent_as_bearer_and_wins_over_the_key_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPGRAM_API_KEY", "the-key-of-the-environment")
    endpoint = choose(access_token=f" {CANARY} ")
    assert (endpoint.kind, endpoint.key_origin) == ("deepgram", "access_token=")
    assert endpoint.key is not None
    assert endpoint.key.reveal() == CANARY
    assert CANARY not in repr(endpoint) + str(endpoint)
    monkeypatch.setenv("DEEPGRAM_TOKEN", CANARY)
    assert choose().key_origin == "DEEPGRAM_TOKEN"
    assert choose(api_key="k" * 40).key_origin == "api_key="
    assert choose("ws://127.0.0.1:8080").key is None
    monkeypatch.setenv("DEEPGRAM_TOKEN", " ")
    assert choose().key_origin == "DEEPGRAM_API_KEY"


async def test_the_scheme_follows_from_where_the_key_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await choose("wss://example.org", access_token=CANARY).locate()).authorization.startswith("Bearer ")
    assert (await choose("wss://example.org", CANARY).locate()).authorization.startswith("Token ")
    assert (await choose("wss://example.org").locate()).authorization.startswith("Token ")
    monkeypatch.setenv("DEEPGRAM_TOKEN", CANARY)
    assert (await choose("wss://example.org").locate()).authorization.startswith("Bearer ")


def test_a_key_and_a_token_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="api_key= and access_token= are both given"):
        choose("deepgram", CANARY, CANARY)
    for wrong in ("", "  ", "a b", "a\nb", 7, b"bytes"):
        with pytest.raises(ConfigurationError, match="in access_token="):
            choose("deepgram", access_token=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address",
    ["wss://user:{}@h", "wss://h?token={}", "user:{}@h", "h?token={}", "https://u:{}@h", "wss://h:1:{}", "ws://h#{}"],
)
@pytest.mark.parametrize("use", [connect, dgnb.LiveSession, dgnb.transcribe, dgnb.ControlPanel])
async def test_a_wrong_address_is_refused_and_its_credentials_are_not_shown(address: str, use: Any) -> None:
    with pytest.raises(ConfigurationError, match="endpoint must") as caught:
        await awaited(use, None if use is connect else b"RIFF", endpoint=address.format(CANARY))
    assert CANARY not in shown(caught.value)
