"""The queries, typed and validated before any I/O: of live streams, of Flux, and of recordings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from dgnb.exceptions import ConfigurationError
from dgnb.options.base import ENCODINGS, Options, as_text, check_encoding, fields_of
from dgnb.options.flux import FluxOptions
from dgnb.options.listen import LANGUAGES, MODELS, MOST_CHANNELS
from dgnb.options.live import LiveOptions
from dgnb.options.recorded import PrerecordedOptions
from dgnb.values import native

__all__ = [
    "ENCODINGS",
    "LANGUAGES",
    "MODELS",
    "MOST_CHANNELS",
    "FluxOptions",
    "LiveOptions",
    "Options",
    "PrerecordedOptions",
    "StreamOptions",
    "as_options",
    "as_recorded",
    "as_text",
    "check_encoding",
    "fields_of",
    "takes_options",
]

F = TypeVar("F", bound=Callable[..., Any])

StreamOptions = LiveOptions | FluxOptions
"""What a session takes."""


def takes_options(function: F, kind: type[Options] = LiveOptions) -> F:
    """A function that takes options as `**wire`, with a signature that names them: Tab and Shift-Tab show it."""
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    own = inspect.signature(kind).parameters
    options = [own[name] for name in own if name not in signature.parameters]
    vars(function)["__signature__"] = signature.replace(parameters=[*named, *options])
    return function


def as_options(options: object, named: Mapping[str, Any]) -> StreamOptions:
    """Options of a stream that were given as an object, as a mapping, or by name; a model `flux-…` is Flux's."""
    given = options if isinstance(options, Mapping) else named
    flux = str(native(given.get("model", ""))).startswith("flux-")
    made: StreamOptions = _made(options, named, FluxOptions if flux else LiveOptions, (LiveOptions, FluxOptions))
    return made


def as_recorded(options: object, named: Mapping[str, Any]) -> PrerecordedOptions:
    """The same for a recording."""
    made: PrerecordedOptions = _made(options, named, PrerecordedOptions, (PrerecordedOptions,))
    return made


def _made(options: Any, named: Mapping[str, Any], kind: type[Options], taken: tuple[type[Options], ...]) -> Any:
    if options is None:
        return kind(**named)
    if isinstance(options, Mapping):
        options = kind(**{str(name): value for name, value in options.items()})
    if not isinstance(options, taken):
        raise ConfigurationError(
            f"options is a {' or '.join(each.__name__ for each in taken)}, or a dict of options, not "
            f"{type(options).__name__}: write {kind.__name__}({'' if kind is FluxOptions else 'smart_format=True'}), "
            "for one."
        )
    if named:
        raise ConfigurationError(f"Give options as {type(options).__name__} or by name ({', '.join(named)}), not both.")
    return options
