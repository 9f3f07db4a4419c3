"""`python -m dgnb.loopback`: the loopback server as a program, for any Deepgram client on this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import json
import os
import signal
import ssl
import sys
import threading
from collections.abc import Sequence

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.loopback.engines import DEFAULT_MODEL
from dgnb.loopback.engines.script import Script
from dgnb.loopback.server import serve

_TOKEN = "DGNB_LOOPBACK_TOKEN"

_GREETING = """\
A Deepgram-compatible server for this machine, with {engine}. Ctrl-C ends it.

  {url}/v1/listen      speech to text; {key}
  {url}/v2/listen      the same in turns, as Flux
  {radio_url}        a station to stream from

dgnb:
  await dgnb.transcribe("speech.wav", endpoint="{url}", api_key="{example_key}")
deepgram-sdk:
  from deepgram.environment import DeepgramClientEnvironment
  here = DeepgramClientEnvironment(base="{http}", production="{url}", agent="{url}", agent_rest="{http}")
  client = AsyncDeepgramClient(api_key="{example_key}", environment=here)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or the end of standard input. Returns the exit status: 1 when the server could not start."""
    about = f"A Deepgram-compatible server. {_TOKEN} holds the key that clients must send; unset, any key will do."
    parser = argparse.ArgumentParser(prog="python -m dgnb.loopback", description=about)
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free (default: %(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Whisper's size or a folder (default: %(default)s)")
    parser.add_argument("--script", metavar="TEXT", help="repeat this text instead of listening")
    parser.add_argument(
        "--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="serve wss://, with a certificate and its key, PEM files"
    )
    parser.add_argument("--json", action="store_true", help="print the addresses as one line of JSON")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input closes")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except KeyboardInterrupt:
        return 0
    except DgnbError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        reason = "the port is taken" if error.errno == errno.EADDRINUSE else str(error)
        remedy = "Choose another with --port; 0 takes any that is free."
        print(f"Can't listen on port {options.port}: {reason}. {remedy}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    engine = None if options.script is None else Script(options.script, repeat=True)
    tls = options.tls and _encrypted(*options.tls)
    token = os.environ.get(_TOKEN) or None
    ended = asyncio.Event()
    async with serve(engine, model=options.model, port=options.port, token=token, tls=tls) as server:
        # Before anybody connects: a model that is missing ends the program, and one that is fetched takes its time.
        await server.load()
        _end_with(ended, stdin=options.exit_with_stdin)
        if options.json:
            print(json.dumps({"url": server.url, "radio_url": server.radio_url}), flush=True)
        else:
            greeting = _GREETING.format(
                engine="a script" if options.script is not None else f"Whisper {options.model}",
                url=server.url,
                http=server.url.replace("ws", "http", 1),
                radio_url=server.radio_url,
                key=f"the key is in {_TOKEN}" if token else "any key will do",
                example_key=f"${_TOKEN}" if token else "any",
            )
            print(greeting, flush=True)
        await ended.wait()


def _encrypted(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password that is given is not asked for.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ConfigurationError(
            f"There is no certificate in {certificate} with its key in {key}: {error}. Give two PEM files, the key "
            "unencrypted: --tls CERTIFICATE KEY."
        ) from None
    return context


def _end_with(ended: asyncio.Event, *, stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    # A loop on Windows has no signal handlers. There, Ctrl-C cancels the task, which also ends the server.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, ended.set)

    def watch() -> None:
        # Not through sys.stdin: this thread would hold its lock when the interpreter ends.
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    if stdin:
        threading.Thread(target=watch, name="dgnb-loopback-stdin", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
