from __future__ import annotations

import numpy as np
import pytest

from dgnb.audio.gate import Gate

RATE = 32_000
RANDOM = np.random.default_rng(7)


def noise(seconds: float, level: float) -> bytes:
    """Noise of a root mean square of `level` dB below full scale."""
    return (
        (RANDOM.standard_normal(round(seconds * 16_000)) * 32768 * 10 ** (level / 20))
        .clip(-32768, 32767)
        .astype("<i2")
        .tobytes()
    )


def sent(sound: bytes) -> list[tuple[float, float]]:
    """The stretches that are sent, in seconds."""
    gate, stretches, step = Gate(RATE, 2), [], RATE // 10
    gate.capture(sound)
    for at in range(0, len(sound), step):
        if gate.skips(at, min(step, len(sound) - at), True) is False:
            start, end = round(at / RATE, 3), round((at + step) / RATE, 3)
            if stretches and stretches[-1][1] == start:
                start, _ = stretches.pop()
            stretches.append((start, end))
    return stretches


@pytest.mark.parametrize("quiet", [-120.0, -75.0, -55.0])
def test_silence_is_left_out_but_for_what_leads_to_speech_and_away_from_it(quiet: float) -> None:
    speech = noise(2, -20)
    sound = noise(3, quiet) + speech + noise(10, quiet) + speech + noise(5, quiet)
    # The first half second shows how quiet it is.
    assert sent(sound) == [(0.0, 0.5), (2.7, 5.5), (14.7, 17.5), (21.7, 22.0)]


def test_quiet_speech_is_sent() -> None:
    sound = noise(3, -80) + noise(2, -52) + noise(3, -80)
    assert (2.7, 5.5) in sent(sound)


@pytest.mark.parametrize("level", [-10.0, -30.0, -44.0])
def test_music_and_steady_noise_are_simply_sent(level: float) -> None:
    assert sent(noise(20, level)) == [(0.0, 20.0)]


def test_it_waits_until_it_knows_what_follows() -> None:
    gate = Gate(RATE, 2)
    gate.capture(bytes(RATE))
    assert gate.skips(RATE // 2, RATE // 10, False) is True
    assert gate.skips(RATE * 7 // 10, RATE // 10, False) is None
    gate.capture(noise(0.1, -20))
    assert gate.skips(RATE * 8 // 10, RATE // 10, False) is False
