"""A limit in US$: all audio that is sent counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import dgnb
from dgnb.endpoints import Endpoint, choose
from dgnb.exceptions import ConfigurationError
from dgnb.loopback import Script
from dgnb.pricing import Price
from tests.support.faulty import FaultyServer

SOUND = np.zeros(16_000 * 10, "<i2")


@pytest.fixture(autouse=True)
def billed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of this machine that counts as a remote one, at five cents a second."""
    monkeypatch.setattr(Endpoint, "local", property(lambda self: False))
    monkeypatch.setattr(dgnb.prices, "data", {"nova-3": Price(3.0, None)})


def at(server: FaultyServer) -> Endpoint:
    return dataclasses.replace(choose(server.url), proxy=False)


async def test_a_stream_ends_before_it_costs_more() -> None:
    async with FaultyServer(
        Script("one two three four five six seven eight nine ten", start=0.0, words_per_second=5)
    ) as server:
        transcript = await dgnb.transcribe(SOUND, sample_rate=16_000, endpoint=at(server), pace=None, max_cost=0.05)
    assert transcript.cost == pytest.approx(0.05)
    assert transcript.text == "one two three four five"
    assert transcript.events.query("type == 'Metadata'")["text"].tolist() == ["1.0 s of audio received"]
    assert "over US$0.05" in transcript.events.query("type == 'limit'")["text"].item()
    assert transcript.summary().loc["cost"].tolist() == [0.05, "US$, estimated by dgnb.prices"]
    assert transcript.gaps.empty


async def test_each_channel_is_billed() -> None:
    async with FaultyServer(Script("one two")) as server:
        stereo = np.zeros((16_000 * 4, 2), "<i2")
        transcript = await dgnb.transcribe(
            stereo, sample_rate=16_000, endpoint=at(server), pace=None, multichannel=True, max_cost=0.06
        )
    assert transcript.cost == pytest.approx(0.06)
    assert transcript.events.query("type == 'Metadata'")["text"].tolist() == ["0.6 s of audio received"]


async def test_what_is_sent_again_counts_again() -> None:
    async with FaultyServer(Script("")) as server:
        session = dgnb.LiveSession(SOUND, sample_rate=16_000, endpoint=at(server), pace=8, max_cost=0.08).start()
        while session.audio_cursor < 0.4:
            await session.wait(0.02)
        server.drop()
        await session
    assert session.transcript.cost == pytest.approx(0.08)
    assert session.audio_cursor < 1.6


@pytest.mark.parametrize("wrong", [-1, "much", float("nan"), True])
def test_a_limit_is_a_number(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="max_cost"):
        dgnb.LiveSession(SOUND, sample_rate=16_000, endpoint="wss://example.org", api_key="x" * 20, max_cost=wrong)  # type: ignore[arg-type]


def test_a_limit_needs_a_price() -> None:
    with pytest.raises(ConfigurationError, match="none is known for nova-2"):
        dgnb.LiveSession(
            SOUND, sample_rate=16_000, endpoint="wss://example.org", api_key="x" * 20, max_cost=1, model="nova-2"
        )


async def test_this_machine_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    async with FaultyServer(Script("one two")) as server:
        transcript = await dgnb.transcribe(SOUND, sample_rate=16_000, endpoint=server.url, pace=None, max_cost=0.0001)
    assert transcript.cost is None
    assert "cost" not in transcript.summary().index
