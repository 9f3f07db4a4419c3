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

import dgnb
from tests.support.speech import speech

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


def test_no_other_host_is_served_by_the_program() -> None:
    with program("--host", "0.0.0.0") as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "0.0.0.0" in errors
    assert "Traceback" not in errors


def test_the_program_tells_a_person_how_to_connect() -> None:
    with program("--port", "0") as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(14))
    for word in ("ws://127.0.0.1:", "/v1/listen", "/radio", "curl", "AsyncDeepgramClient", "Ctrl-C"):
        assert word in said


@pytest.mark.parametrize("model", ["nosuch", "/no/such/folder"])
def test_a_model_that_does_not_exist_is_refused_in_one_line(model: str) -> None:
    with program("--port", "0", "--model", model, script=None) as process:
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (1, "")
    assert model in errors
    assert errors.count("\n") == 1


async def test_a_certificate_that_the_program_made_is_good_for_clients_that_are_told_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with program("--port", "0", "--json", "--tls", "--exit-with-stdin") as process:
        where = addresses(process)
        assert where["url"].startswith("wss://127.0.0.1:")
        certificate = Path(where["certificate"])
        assert [path.name for path in certificate.parent.iterdir()] == ["certificate.pem"]
        with pytest.raises(dgnb.DgnbError, match="certificate"):
            await dgnb.transcribe(speech(2), endpoint=where["url"], api_key="any")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        transcript = await dgnb.transcribe(speech(2), endpoint=where["url"], api_key="any")
        assert transcript.text.startswith("hello world")
        for name in ("localhost", "127.0.0.1"):
            context = ssl.create_default_context(cafile=certificate)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            url = where["url"].replace("127.0.0.1", name)
            with connect(f"{url}/v1/listen", additional_headers={"Authorization": "Token a"}, proxy=None, ssl=context):
                pass
        process.communicate(timeout=10)
        assert not certificate.parent.exists()


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


def test_a_person_is_told_how_to_trust_the_certificate() -> None:
    with program("--port", "0", "--tls") as process:
        assert process.stdout is not None
        said = ""
        while "(Node)" not in said:
            said += process.stdout.readline()
    for word in (
        "wss://127.0.0.1:",
        "https://127.0.0.1:",
        "SSL_CERT_FILE=/",
        "NODE_EXTRA_CA_CERTS=/",
        "certificate.pem",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "path", "words"),
    [
        (["nosuch.pem", "nosuch.key"], None, "nosuch.pem"),
        ([__file__, __file__], None, "PEM"),
        (["one.pem"], None, "two files"),
        ([], "/nonexistent", "openssl"),
    ],
)
def test_a_certificate_that_cannot_be_had_is_said(arguments: list[str], path: str | None, words: str) -> None:
    environment = {"PATH": path} if path else {}
    with program("--port", "0", "--tls", *arguments, **environment) as process:
        output, errors = process.communicate(timeout=10)
    assert process.returncode
    assert output == ""
    assert words in errors
    assert "Traceback" not in errors
