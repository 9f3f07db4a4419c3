"""Checks of the arguments of `LiveSession`."""

from __future__ import annotations

import math
import os
from typing import Any

from dgnb.audio import AudioSource
from dgnb.audio.recording import CODECS, Recorder
from dgnb.audio.sound import again
from dgnb.exceptions import ConfigurationError
from dgnb.options import FluxOptions, StreamOptions
from dgnb.pricing import limit_seconds
from dgnb.values import native


def most(max_cost: Any, options: StreamOptions) -> float:
    """US$ that a stream may cost."""
    if max_cost is None:
        return math.inf
    limit_seconds(options, max_cost)
    return float(native(max_cost))


def gate(given: Any, options: StreamOptions) -> bool:
    """Whether silence is left out."""
    if not isinstance(given := native(given), bool):
        raise ConfigurationError(f"gate is True or False, not {given!r}.")
    if given and isinstance(options, FluxOptions):
        raise ConfigurationError("gate does not go with Flux: a turn ends by the silence after it. Leave gate out.")
    return given


def recorder(record: Any, source: AudioSource, journal: str | None) -> Recorder | None:
    """What writes the recording, or None."""
    if (record := native(record)) is True:
        return None if again(source) else Recorder(None, source.name)
    if record is None or record is False:
        return None
    path = os.path.expanduser(os.fsdecode(record)) if isinstance(record, (str, os.PathLike)) else ""
    if os.path.splitext(path)[1].lower() not in CODECS:
        raise ConfigurationError(f"record is True, or a path that ends in {', '.join(CODECS)}, not {record!r}.")
    for what, other in (("journal", journal), ("source", getattr(source, "path", None))):
        if other and os.path.realpath(other) == os.path.realpath(path):
            raise ConfigurationError(f"{path!r} is the {what}, too: give the recording another name.")
    return Recorder(path, source.name)
