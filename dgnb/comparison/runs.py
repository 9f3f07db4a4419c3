"""What a run of a comparison may be, and how it comes to its transcript."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import pandas as pd

from dgnb.audio import Sound
from dgnb.audio.sound import again
from dgnb.comparison.hearing import Hearing
from dgnb.comparison.references import file_of, read
from dgnb.endpoints import Endpoint, choose
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.options import Options, PrerecordedOptions, as_options
from dgnb.pricing import cost_of
from dgnb.recordings import transcribe_file
from dgnb.session import LiveSession, transcribe
from dgnb.transcript import Transcript

_WHERE: Final = ("endpoint", "api_key", "access_token", "ssl", "proxy")


class Way(NamedTuple):
    """How a run comes to its transcript: `options` None for a function; `taps`: whether it is a live stream."""

    run: Callable[[], Awaitable[Transcript]]
    options: Any = None
    endpoint: Endpoint | None = None
    taps: bool = False

    def cost(self, hearing: Hearing) -> float:
        """US$; NaN where no price is known."""
        if self.endpoint is None or self.endpoint.local or not hearing.audio:
            return 0.0 if self.endpoint else math.nan
        seconds = max(hearing.seconds, 0.0 if self.taps else hearing.audio.length or 0.0)
        cost = cost_of(self.options, seconds, hearing.audio.channels if self.options.multichannel else 1)
        return math.nan if cost is None else cost


def way_of(name: str, run: Any, hearing: Hearing, settings: dict[str, Any]) -> Way | Transcript:
    """A run, checked before any I/O but that of a session file."""
    if path := file_of(run):
        run = read(path)
        if isinstance(run, str):
            raise ConfigurationError(f"Run {name!r} is a file, but no session file: pass a text as reference=.")
    if isinstance(run, Transcript):
        return run
    options, where = run if isinstance(run, tuple) and len(run) == 2 else (run, None)
    if isinstance(options, str) and where is None:
        options, where = {}, options
    settings = {**settings, "progress": False} | ({} if where is None else {"endpoint": where})
    try:
        endpoint = choose(**{key: settings[key] for key in _WHERE if key in settings})
        if isinstance(options, PrerecordedOptions):
            return Way(functools.partial(_recorded, hearing, options, settings), options, endpoint)
        if isinstance(options, Options | Mapping):
            options = as_options(options, {})
            fitting = _fitting(LiveSession, settings)
            LiveSession(hearing, options, **fitting)
            return Way(functools.partial(transcribe, hearing, options, **fitting), options, endpoint, taps=True)
    except ConfigurationError as error:
        raise ConfigurationError(f"Run {name!r}: {error}") from None
    if callable(options) and where is None:
        return Way(functools.partial(_called, hearing, options))
    kind = type(run).__name__
    raise ConfigurationError(
        f"Run {name!r} is options, an endpoint, a pair of both, a Transcript, or a function of the sound, not {kind}."
    )


def _fitting(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that a function takes."""
    return {name: settings[name] for name in inspect.signature(function).parameters if name in settings}


async def _recorded(hearing: Hearing, options: PrerecordedOptions, settings: dict[str, Any]) -> Transcript:
    source: Any = hearing.source
    if hearing.duration is not None or not again(source):
        # What a service fetches or a person speaks is another sound each time.
        source = await asyncio.to_thread((await hearing.whole()).wav)
    return await transcribe_file(source, options, **_fitting(transcribe_file, settings))


async def _called(hearing: Hearing, function: Callable[[Sound], Any]) -> Transcript:
    """What a function makes of the sound, as a transcript."""
    sound = await hearing.whole()
    made = function(sound) if inspect.iscoroutinefunction(function) else await asyncio.to_thread(function, sound)
    made = await made if inspect.isawaitable(made) else made
    if isinstance(made, Transcript):
        return made
    text: Any = made
    words: tuple[Word, ...] = ()
    if not isinstance(made, str):
        try:
            words = msgspec.convert(pd.DataFrame(made).to_dict("records"), tuple[Word, ...])
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"A function gives a Transcript, a text, or words with times: {error}") from None
        text = " ".join(word.punctuated_word or word.word for word in words)
    transcript = Transcript()
    heard = Channel((Alternative(text, words=words),))
    transcript.feed(Results((0, 1), hearing.seconds, 0.0, heard, is_final=True, speech_final=True))
    return transcript
