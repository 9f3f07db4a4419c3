"""What `replay()` takes, and what it says of what it can't take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb import ConfigurationError, DgnbError, Transcript


@pytest.mark.parametrize("speed", [0, -1, "fast", math.nan, math.inf, True, [1]])
def test_a_speed_that_is_none_is_refused(speed: Any) -> None:
    with pytest.raises(ConfigurationError, match="speed is a positive number, or None for as fast as it goes, not"):
        dgnb.replay(Transcript(), speed)


@pytest.mark.parametrize("given", [None, 3, b"talk.jsonl", dgnb.Transcript])
def test_what_is_no_session_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes the path of a session file, or a Transcript, not"):
        dgnb.replay(given)


def test_a_file_that_is_missing_or_no_session_is_told_by_the_call(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(b"RIFF")
    for name in ("none.jsonl", "talk.wav", ""):
        with pytest.raises(DgnbError, match="can't be read as a session file"):
            dgnb.replay(tmp_path / name)
