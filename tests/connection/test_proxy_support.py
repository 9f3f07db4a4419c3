from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Proxy, proxied

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SOON = 0.05
"""Seconds in which nothing must happen."""


class Echo:
    """An echo server that records how each connection ended."""

    def __init__(self) -> None:
        self.received = 0
        self.ends: list[str] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = "closed"
        try:
            while data := await reader.read(65536):
                self.received += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            end = "reset"
        self.ends.append(end)
        self.ended.set()
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    peer = Echo()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    async with server:
        yield peer, server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[Proxy]:
    async with proxied(echo[1]) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def line(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said(line: Line, data: bytes) -> bytes:
    line[1].write(data)
    async with asyncio.timeout(5):
        return await line[0].readexactly(len(data))


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SOON):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_without_a_fault_all_bytes_pass_both_ways(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    data = bytes(range(256)) * 1000
    async with line(proxy) as here:
        assert await said(here, data) == data
        assert proxy.open == 1
    async with asyncio.timeout(5):
        await echo[0].ended.wait()
    assert echo[0].ends == ["closed"]
    assert (proxy.connections, proxy.bytes_up, proxy.bytes_down) == (1, len(data), len(data))


async def test_a_reset_reaches_both_ends_as_a_reset(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    async with line(proxy) as here:
        await said(here, b"x")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await here[0].read(1)
        async with asyncio.timeout(5):
            await echo[0].ended.wait()
    assert echo[0].ends == ["reset"]


async def test_a_close_reaches_both_ends_as_an_end(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    async with line(proxy) as here:
        await said(here, b"x")
        proxy.close()
        assert await here[0].read() == b""
        async with asyncio.timeout(5):
            await echo[0].ended.wait()
    assert echo[0].ends == ["closed"]


async def test_a_cut_comes_at_the_given_byte(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    async with line(proxy) as here:
        await said(here, b"abc")
        proxy.cut_after(1000)
        with pytest.raises(ConnectionResetError):
            await said(here, bytes(5000))
    assert proxy.bytes_up >= 1003
    assert echo[0].received <= 1003
    proxy.cut_after(10)
    async with line(proxy) as here:
        with pytest.raises(ConnectionResetError):
            await said(here, bytes(50))
    async with line(proxy) as here:
        assert await said(here, bytes(50)) == bytes(50)


async def test_in_a_blackhole_nothing_passes_and_no_end_is_signalled(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    async with line(proxy) as here:
        await said(here, b"x")
        with proxy.blackhole():
            here[1].write(b"lost")
            assert await nothing_comes(here[0])
        # The dead connection stays dead, and new connections work.
        here[1].write(b"lost too")
        assert await nothing_comes(here[0])
        assert echo[0].received == 1
        assert proxy.open == 1
        async with line(proxy) as other:
            assert await said(other, b"y") == b"y"


async def test_a_held_peer_receives_the_data_later(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    size = 8 << 20
    async with line(proxy) as here:
        await said(here, b"x")
        reading = asyncio.create_task(here[0].readexactly(size))
        with proxy.hold():
            here[1].write(bytes(size))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(SOON):
                    await here[1].drain()
            assert echo[0].received <= 1 + (16 << 10)
        async with asyncio.timeout(20):
            assert await reading == bytes(size)


async def test_data_held_on_the_way_back_comes_later(proxy: Proxy, echo: tuple[Echo, int]) -> None:
    async with line(proxy) as here:
        await said(here, b"x")
        with proxy.hold(upstream=False, downstream=True):
            # The read that runs already still takes one piece.
            here[1].write(b"1")
            await here[0].readexactly(1)
            here[1].write(b"2")
            assert await nothing_comes(here[0])
        assert await here[0].readexactly(1) == b"2"


async def test_bandwidth_and_latency_slow_the_line(proxy: Proxy) -> None:
    clock = asyncio.get_running_loop().time
    async with line(proxy) as here:
        begun = clock()
        with proxy.bandwidth(100_000):
            await said(here, bytes(10_000))
        assert clock() - begun >= 0.19
        begun = clock()
        with proxy.latency(0.1):
            await said(here, b"x")
        assert clock() - begun >= 0.19
        begun = clock()
        await said(here, b"x")
        assert clock() - begun < 0.1


async def test_a_proxy_that_was_down_comes_back_on_the_same_port(proxy: Proxy) -> None:
    async with line(proxy) as here:
        await said(here, b"x")
        async with proxy.down():
            with pytest.raises(ConnectionResetError):
                await here[0].read(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
    async with line(proxy) as here:
        assert await said(here, b"y") == b"y"


async def test_garbled_bytes_are_other_bytes_of_the_same_number(proxy: Proxy) -> None:
    async with line(proxy) as here:
        with proxy.garble():
            given = await said(here, bytes(100))
        assert given != bytes(100)
        assert await said(here, bytes(100)) == bytes(100)


async def test_a_missing_server_is_a_reset() -> None:
    async with proxied(1) as proxy, line(proxy) as here:
        with pytest.raises(ConnectionResetError):
            await here[0].read(1)
