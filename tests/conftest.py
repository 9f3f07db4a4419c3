"""What every test gets: no way off this machine, nothing left behind, no key, and some audio."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import re
import socket
import threading
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from aiohttp import web
from websockets.utils import accept_key

Samples = npt.NDArray[Any]
MOMENT = 5.0
"""Seconds that a thread or process may take to end; nobody waits so long unless a test is about to fail."""


# Rules that hold for all tests


_LONGEST = ("browser", "notebooks", "session", "loopback")
"""Rooms whose files take long. They come first, so that no worker of `make test` is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: [room not in item.path.parts for room in _LONGEST])
    if not os.environ.get("DEEPGRAM_API_KEY"):
        for item in items:
            if item.get_closest_marker("live"):
                item.add_marker(pytest.mark.skip(reason="needs DEEPGRAM_API_KEY"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.skipped and not item.get_closest_marker("live") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = "Only tests marked live may be skipped."
    return report


@pytest.fixture(autouse=True)
def no_key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("live"):
        monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
        monkeypatch.delenv("DGNB_ENDPOINT", raising=False)


def _is_here(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def this_machine_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse any connection that would leave this machine, and fail the test that tried."""
    tried: list[str] = []
    if request.node.get_closest_marker("live"):
        yield
        return
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(what: object) -> None:
        tried.append(str(what))
        raise RuntimeError(f"A test tried to leave this machine: {what}")

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            refuse(address)

    def guarded_connect(sock: socket.socket, address: Any) -> None:
        check(sock, address)
        connect(sock, address)

    def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
        check(sock, address)
        return connect_ex(sock, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".invalid"):  # RFC 6761: no resolver knows such a name
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        try:
            ipaddress.ip_address(str(host).partition("%")[0])
        except ValueError:
            if not _is_here(host):
                refuse(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    assert not tried, f"this test tried to leave this machine: {', '.join(tried)}"


def _threads() -> set[threading.Thread]:
    # The loop's own pool ends with the loop.
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


def _children() -> dict[int, psutil.Process]:
    found: dict[int, psutil.Process] = {}
    try:
        # For nearly all tests there is none, and psutil reads of every process on the machine.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return found
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline()):
                found[child.pid] = child
        except psutil.NoSuchProcess:
            pass
    return found


@pytest.fixture(autouse=True)
def no_thread_or_process_is_left(this_machine_only: None) -> Iterator[None]:
    threads, children = _threads(), _children()
    yield
    left = []
    for thread in _threads() - threads:
        if not thread.daemon or thread.name.startswith("dgnb:"):
            thread.join(MOMENT)
            if thread.is_alive():
                left.append(f"thread {thread.name!r}")
    new = [child for pid, child in _children().items() if pid not in children]
    _, alive = psutil.wait_procs(new, timeout=MOMENT) if new else ([], [])
    left += [f"child process {child.pid}" for child in alive]
    assert not left, f"this test left {', '.join(left)} behind"


@pytest.fixture(autouse=True)
async def no_task_is_left(no_thread_or_process_is_left: None) -> AsyncIterator[None]:
    loop, here = asyncio.get_running_loop(), threading.get_ident()

    def from_this_thread(call: Callable[..., asyncio.Handle]) -> Callable[..., asyncio.Handle]:
        def checked(*args: Any, **kwargs: Any) -> asyncio.Handle:
            if threading.get_ident() != here:
                raise RuntimeError(f"Another thread called {call.__name__}() of this test's loop.")
            return call(*args, **kwargs)

        return checked

    # The part of asyncio's debug mode that finds faults. The rest notes where each future was made, a third of all the
    # CPU time.
    for name in ("call_soon", "call_at"):
        setattr(loop, name, from_this_thread(getattr(loop, name)))
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
    assert not left, f"this test left tasks behind: {', '.join(sorted(task.get_name() for task in left))}"


# Audio, and a place to get it from


@pytest.fixture(scope="session")
def tone() -> Callable[..., Samples]:
    """`tone(seconds, rate=16000, channels=1, hertz=440)`: int16 (samples, channels), channels an octave apart."""

    def make(seconds: float, rate: int = 16_000, channels: int = 1, hertz: float = 440.0) -> Samples:
        t = np.arange(round(seconds * rate))[:, None] / rate
        return (8000 * np.sin(2 * np.pi * hertz * 2.0 ** np.arange(channels) * t)).astype(np.int16)

    return make


@pytest.fixture(scope="session")
def wav() -> Callable[..., bytes]:
    """`wav(samples, rate=16000)`: a WAV file of int16 samples."""

    def make(samples: Samples, rate: int = 16_000) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
            writer.setsampwidth(2)
            writer.setframerate(rate)
            writer.writeframes(samples.astype("<i2").tobytes())
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """`encoded(samples, rate, codec, container, bit_rate=None)`: a file by FFmpeg."""

    def make(samples: Samples, rate: int, codec: str, container: str, bit_rate: int | None = None) -> bytes:
        file = io.BytesIO()
        layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
        with av.open(file, "w", format=container) as output:
            stream: Any = output.add_stream(codec, rate=rate)
            stream.layout = layout
            if bit_rate:
                stream.bit_rate = bit_rate
            context = stream.codec_context
            resampler = av.AudioResampler(
                format=context.format.name, layout=layout, rate=rate, frame_size=context.frame_size or None
            )
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=layout
            )
            frame.sample_rate, frame.pts = rate, 0
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                output.mux(stream.encode(part))
        return file.getvalue()

    return make


@pytest.fixture
async def web_server() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """`await web_server(handler)`: the address of a real server on this machine, `http://127.0.0.1:port`."""
    runners = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


# A peer that no public fault is like


@pytest.fixture
async def deaf() -> AsyncIterator[str]:
    """The address of a server that shakes hands and reads no more."""
    gone = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return  # A client that was cancelled at once.
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request, re.IGNORECASE)
        assert key
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key[1].decode()).encode() + b"\r\n\r\n"
        )
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1024)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gone.set()
