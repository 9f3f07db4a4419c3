"""A listener that reads a station's bytes from the socket, and decodes them."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import av
import numpy as np


class OnTheAir(Protocol):
    """A server with a station."""

    @property
    def radio_url(self) -> str:
        """The station's address."""


@dataclass
class Heard:
    """What came over a socket, without an HTTP client in between."""

    status: str
    headers: dict[str, str]
    body: bytes
    ended: str
    """`closed`, `reset`, or `open` if the test stopped reading."""


async def hear(
    server: OnTheAir, path: str = "/radio", *, enough: int = 1 << 30, patience: float = 5.0, **headers: str
) -> Heard:
    """Ask, and read until the end, until there is enough, or until nothing comes for `patience` seconds."""
    address = urlsplit(server.radio_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    fields = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n{fields}\r\n".encode())
    got, ended = bytearray(), "open"
    try:
        while len(got) < enough:
            async with asyncio.timeout(patience):
                data = await reader.read(1 << 16)
            if not data:
                ended = "closed"
                break
            got += data
    except TimeoutError:
        pass
    except ConnectionResetError:
        ended = "reset"
    finally:
        writer.close()
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return Heard(status, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}, body, ended)


def without_metadata(body: bytes, interval: int) -> tuple[bytes, list[str]]:
    """The audio, and the ICY blocks that are not empty."""
    audio, said = b"", []
    while len(body) > interval:
        audio, size = audio + body[:interval], body[interval] * 16
        if size:
            said.append(body[interval + 1 : interval + 1 + size].rstrip(b"\0").decode())
        body = body[interval + 1 + size :]
    return audio + body, said


def decoded(audio: bytes, form: str | None = None) -> tuple[float, set[int]]:
    """Seconds, and the sample rates."""
    seconds, rates, peak = 0.0, set(), 0.0
    with av.open(io.BytesIO(audio), "r", format=form) as file:
        for frame in file.decode(audio=0):
            peak = max(peak, np.abs(frame.to_ndarray()).max())
            seconds += frame.samples / frame.sample_rate
            rates.add(frame.sample_rate)
    assert peak > 0.1
    return seconds, rates
