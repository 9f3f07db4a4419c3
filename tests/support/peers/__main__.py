"""Runs foreign clients, each version in an environment of its own, against `python -m dgnb.loopback`: `make peers`.

It prints a table and exits with 1 when a client fails. The environments are kept in `build/peers`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parents[2] / "build" / "peers"
SECONDS: Final = 3
WORDS: Final = "hello world"


@dataclass(frozen=True)
class Peer:
    """A program of this folder, with its arguments, and what to install for it."""

    program: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    tls: bool = False

    @property
    def name(self) -> str:
        return " ".join([*self.needs[:1], *self.arguments, *(["tls"] if self.tls else [])])

    def command(self) -> list[str]:
        """How to start it; installs what is missing."""
        folder = FOLDER / self.needs[0].replace("/", "-")
        if self.program.endswith(".js"):
            if not (folder / "node_modules").exists():
                folder.mkdir(parents=True, exist_ok=True)
                run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *self.needs])
            # Node looks for modules beside the program.
            return ["node", shutil.copy(HERE / self.program, folder), *self.arguments]
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
            run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.needs])
        return [str(python), "-I", str(HERE / self.program), *self.arguments]


PEERS: Final = (
    # Version 2 needs an argument that websockets 14 dropped.
    Peer("sdk2.py", ("deepgram-sdk==2.12.0", "websockets<14")),
    *(
        Peer(program, (f"deepgram-sdk=={version}",), (kind,))
        for program, version in (("sdk3.py", "3.11.0"), ("sdk3.py", "4.8.1"), ("sdk7.py", "7.17.0"))
        for kind in ("threads", "asyncio")
    ),
    *(Peer("sdk2.js", (f"@deepgram/sdk@{version}",), tls=True) for version in (1, 2)),
    *(Peer(f"sdk{version if version != 4 else 3}.js", (f"@deepgram/sdk@{version}",)) for version in (2, 3, 4, 5)),
    Peer("dg_listen.py", ("deepctl==0.4.0",)),
    Peer("livekit_agent.py", ("livekit-plugins-deepgram==1.8.9",)),
)


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600)


@contextmanager
def server(*arguments: str) -> Iterator[Any]:
    """The program; gives the addresses that it prints."""
    command = [sys.executable, "-m", "dgnb.loopback", "--port", "0", "--json", "--exit-with-stdin", "--script", WORDS]
    with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def outcome(peer: Peer, where: Any, audio: Path) -> str:
    """`ok`, or what went wrong."""
    told = {"PEER_URL": where["url"], "PEER_AUDIO": str(audio)}
    if peer.tls:
        told |= {"SSL_CERT_FILE": where["certificate"], "NODE_EXTRA_CA_CERTS": where["certificate"]}
    try:
        ended = subprocess.run(
            peer.command(), env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{error} {getattr(error, 'stderr', None) or ''}"[-300:]
    return "ok" if WORDS in ended.stdout else f"it heard {ended.stdout[:100]!r}"


def main() -> int:
    """Run all, or those whose names have one of the arguments in them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    audio = FOLDER / "audio.raw"
    audio.write_bytes(bytes(32_000 * SECONDS))
    failed = 0
    authority = trustme.CA()
    trusted, files = FOLDER / "authority.pem", [FOLDER / "certificate.pem", FOLDER / "key.pem"]
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(trusted)
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    with server() as plain, server("--tls", *map(str, files)) as encrypted:
        encrypted["certificate"] = str(trusted)
        for peer in PEERS:
            if sys.argv[1:] and not any(word in peer.name for word in sys.argv[1:]):
                continue
            found = outcome(peer, encrypted if peer.tls else plain, audio)
            failed += found != "ok"
            print(f"{peer.name:32} {found}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
