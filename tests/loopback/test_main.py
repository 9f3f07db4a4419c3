from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets
from websockets.sync.client import connect

QUERY = "model=nova-3&encoding=linear16&sample_rate=16000"


@contextmanager
def program(*arguments: str, script: str | None = "hello world", **environment: str) -> Iterator[subprocess.Popen[str]]:
    engine = [] if script is None else ["--script", script]
    with subprocess.Popen(
        [sys.executable, "-m", "dgnb.loopback", *engine, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def addresses(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_the_program_says_where_it_listens_and_ends_with_its_parent() -> None:
    with program("--port", "0", "--json", "--exit-with-stdin", DGNB_LOOPBACK_TOKEN="secret") as process:
        where = addresses(process)
        assert where["radio_url"].startswith("http://127.0.0.1:")
        with pytest.raises(websockets.InvalidStatus):
            connect(f"{where['url']}/v1/listen?{QUERY}", additional_headers={"Authorization": "Token no"}, proxy=None)
        with connect(
            f"{where['url']}/v1/listen?{QUERY}", additional_headers={"Authorization": "Token secret"}, proxy=None
        ) as websocket:
            websocket.send(bytes(64_000))
            assert "hello world" in str(websocket.recv(10))
            # An open connection does not keep the program running.
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_quietly(name: signal.Signals) -> None:
    with program("--port", "0", "--json") as process:
        addresses(process)
        process.send_signal(name)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output, errors) == (0, "", "")


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with program("--port", str(taken.getsockname()[1])) as process:
            output, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert output == ""
    assert "taken" in errors
    assert "--port" in errors
    assert errors.count("\n") == 1


def test_the_program_tells_a_person_how_to_connect() -> None:
    with program("--port", "0") as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(12))
    for word in ("ws://127.0.0.1:", "/v1/listen", "/v2/listen", "/radio", "AsyncDeepgramClient", "Ctrl-C"):
        assert word in said


@pytest.mark.parametrize("model", ["nosuch", "/no/such/folder"])
def test_a_model_that_does_not_exist_is_refused_in_one_line(model: str) -> None:
    with program("--port", "0", "--model", model, script=None) as process:
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (1, "")
    assert model in errors
    assert errors.count("\n") == 1


def test_a_certificate_of_ones_own_is_served(tmp_path: Path) -> None:
    authority, files = trustme.CA(), [tmp_path / "certificate.pem", tmp_path / "key.pem"]
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with program("--port", "0", "--json", "--tls", *map(str, files)) as process:
        where = addresses(process)
        assert where.keys() == {"url", "radio_url"}
        address = f"{where['url']}/v1/listen?{QUERY}"
        with connect(address, additional_headers={"Authorization": "Token a"}, proxy=None, ssl=context) as websocket:
            websocket.send(bytes(64_000))
            assert "hello world" in str(websocket.recv(10))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nosuch.pem", "nosuch.key"], "nosuch.pem"), ([__file__, __file__], "PEM"), (["one.pem"], "2 arguments")],
)
def test_a_certificate_that_cannot_be_had_is_said(arguments: list[str], words: str) -> None:
    with program("--port", "0", "--tls", *arguments) as process:
        output, errors = process.communicate(timeout=10)
    assert process.returncode
    assert output == ""
    assert words in errors
    assert "Traceback" not in errors
