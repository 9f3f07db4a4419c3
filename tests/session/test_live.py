"""Against Deepgram itself, where `DEEPGRAM_API_KEY` is set: the same calls, the same shape of answers."""

from __future__ import annotations

import pytest

import dgnb
from dgnb.exceptions import AuthenticationError, HandshakeError
from dgnb.messages import Metadata, UnknownMessage

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


async def test_the_sample_comes_back_as_words_with_times() -> None:
    transcript = await dgnb.transcribe(
        dgnb.samples.path(), endpoint="deepgram", smart_format=True, interim_results=True, duration=20, pace=1.2
    )
    said = [word["word"] for word in dgnb.samples.words() if word["end"] < 19]
    heard = list(transcript.words["word"])
    assert len(set(said) & set(heard)) / len(set(said)) > 0.8
    assert transcript.words["start"].is_monotonic_increasing
    assert [message for message in transcript.messages if isinstance(message, UnknownMessage)] == []
    (metadata,) = [message for message in transcript.messages if isinstance(message, Metadata)]
    assert metadata.duration == pytest.approx(20.0, abs=0.1)
    assert len(transcript.gaps) == 0


async def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(AuthenticationError) as caught:
        await dgnb.transcribe(dgnb.samples.path(), endpoint="deepgram", api_key="0" * 40)
    assert caught.value.status == 401


async def test_a_wrong_model_is_refused_in_the_servers_own_words() -> None:
    with pytest.raises(HandshakeError) as caught:
        await dgnb.transcribe(dgnb.samples.path(), endpoint="deepgram", model="no-such-model")
    assert caught.value.status in (400, 403)
    assert caught.value.error
