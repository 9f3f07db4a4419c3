"""The fields of the panel's form: what each one shows, and what its value means. A new option appears by itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dgnb.audio.source import SourceFormat
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Thresholds
from dgnb.options import LANGUAGES, MODELS, FluxOptions, LiveOptions, StreamOptions, as_text, fields_of

FORMAT: Final = ("encoding", "sample_rate", "channels")
"""The fields that say how a raw source is read. They are shown among the options, and are not part of them."""

THRESHOLDS: Final = Thresholds.__struct_fields__
"""Flux's fields that are sliders, and live: a session takes what they show without a click on Apply."""

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "Captions": {"interim_results": True, "smart_format": True, "endpointing": "300"},
    "Meeting": {
        "interim_results": True,
        "smart_format": True,
        "diarize_model": "latest",
        "endpointing": "300",
        "utterance_end_ms": "1000",
    },
    "Fast": {"interim_results": True, "no_delay": True},
}
"""Values that go together, by the name of their button. One sets what the others set to its default."""

_KINDS: Final[dict[str, type[StreamOptions]]] = {"live": LiveOptions, "flux": FluxOptions}
_FIELDS: Final = {**fields_of(FluxOptions), **fields_of(LiveOptions)}
_MODELS: Final = (*MODELS, *fields_of(FluxOptions)["model"].metadata["suggestions"])
_RIGHT: Final = {"encoding": "linear16", "sample_rate": "16000", "eot_threshold": "1.0"}
"""Values that go with any other, to find out what else is wrong."""
_ABBREVIATIONS: Final = {"ms": "", "vad": "VAD", "mip": "MIP", "keyterm": "key terms", "eot": "end-of-turn"}


def described() -> dict[str, list[dict[str, Any]]]:
    """The options of each form for the front end: name, label, help, kind, choices, limits, default."""
    source = {name: _FIELDS[name] for name in FORMAT}
    return {
        form: [
            {
                "name": name,
                "label": _label(name),
                "help": field.metadata["help"],
                "kind": _kind(field),
                "choices": [str(choice) for choice in _choices(field)],
                "common": field.metadata["group"] == "common",
                "default": _shown(field, field.default),
                "minimum": field.metadata.get("minimum"),
                "maximum": field.metadata.get("maximum"),
            }
            for name, field in (fields_of(kind) | source).items()
        ]
        for form, kind in _KINDS.items()
    }


def presets() -> dict[str, dict[str, Any]]:
    """All values that each preset sets, by the name of its button."""
    named = [_FIELDS[name] for preset in PRESETS.values() for name in preset]
    defaults = {field.name: _shown(field, field.default) for field in named}
    return {button: {**defaults, **values} for button, values in PRESETS.items()}


def shown(options: StreamOptions) -> dict[str, Any]:
    """The value of each of their fields for these options: True, False or a text."""
    return {name: _shown(field, getattr(options, name)) for name, field in fields_of(type(options)).items()}


def kind_of(values: Mapping[str, Any]) -> type[StreamOptions]:
    """Whose fields are shown: the model says it."""
    return FluxOptions if str(values["model"]).strip().lower().startswith("flux") else LiveOptions


def options_of(values: Mapping[str, Any]) -> StreamOptions:
    """The options of the fields, without the format of a raw source. `ConfigurationError`: they are not valid."""
    kind = kind_of(values)
    return kind(**_read(values, (name for name in fields_of(kind) if name not in FORMAT)))


def tuned(options: StreamOptions, values: Mapping[str, Any]) -> StreamOptions:
    """The options of a session with the thresholds of the sliders. `ConfigurationError`: these are not valid."""
    if not isinstance(options, FluxOptions) or kind_of(values) is not FluxOptions:
        return options
    moved = FluxOptions(**_read(values, THRESHOLDS))
    return dataclasses.replace(options, **{name: getattr(moved, name) for name in THRESHOLDS})


def format_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The format of a raw source, else nothing. `ConfigurationError`: it is not valid."""
    found = SourceFormat.of(**{"encoding": None, "sample_rate": None, **_read(values, FORMAT)})
    return {name: getattr(found, name) for name in FORMAT} if found else {}


def mistakes(values: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong, by the field that the message names: all of it, not only what an error would tell first."""
    found: dict[str, str] = {}
    values, fields = dict(values), fields_of(kind_of(values))
    for read in (options_of, format_of):
        while True:
            try:
                read(values)
                break
            except ConfigurationError as error:
                name = next((word for word in re.findall(r"\w+", str(error)) if word in _FIELDS), "extra")
                if name in found:
                    break
                found[name] = str(error)
                field = fields.get(name, _FIELDS[name])
                values[name] = _RIGHT.get(name, _shown(field, field.default))
    return found


def _label(name: str) -> str:
    words = [_ABBREVIATIONS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]]).strip()


def _kind(field: dataclasses.Field[Any]) -> str:
    if field.name == "extra" or field.metadata["many"]:
        return "lines"
    if field.name in THRESHOLDS:
        return "slider"
    if isinstance(field.default, bool):
        return "bool"
    return "choice" if field.metadata["choices"] else "text"


def _choices(field: dataclasses.Field[Any]) -> Iterable[str]:
    if field.name == "language":
        return LANGUAGES
    if field.name == "model":
        return _MODELS
    if field.name == "extra":
        return ()
    choices: Iterable[str] = field.metadata["choices"] or field.metadata["suggestions"]
    return ["", *choices] if field.metadata["choices"] and field.default is None else choices


def _shown(field: dataclasses.Field[Any], value: Any) -> Any:
    if field.name == "extra":
        items = {} if value is dataclasses.MISSING else value
        many = {name: item if isinstance(item, (list, tuple)) else [item] for name, item in items.items()}
        return "\n".join(f"{name}={as_text(one)}" for name, item in many.items() for one in item)
    if field.metadata["many"]:
        return "\n".join(value)
    if isinstance(field.default, bool):
        return value
    return "" if value is None else as_text(value)


def _read(values: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The options with these names, from what their fields show. An empty field is its default."""
    read = {name: _value(name, values[name]) for name in names}
    return {name: value for name, value in read.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    lines = [line.strip() for line in str(value).splitlines() if line.strip()]
    if name == "extra":
        return _extra(lines)
    if _FIELDS[name].metadata["many"]:
        return lines
    text = " ".join(lines)
    return False if name == "endpointing" and text.lower() in ("off", "no") else text or None


def _extra(lines: list[str]) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"extra is name=value, one a line, not {line!r}.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
