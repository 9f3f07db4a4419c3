"""`Options`: what the queries of all services have in common. Typed, and validated before any I/O."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar, Final, Self, TypeVar

from dgnb.exceptions import ConfigurationError, nearest
from dgnb.notices import escaped, grid, quiet
from dgnb.values import native, number, whole

T = TypeVar("T")

ENCODINGS: Final[tuple[str, ...]] = (
    *("linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb"),
    *("opus", "ogg-opus", "speex", "g729"),
)
"""The encodings of raw audio that Deepgram takes."""

_LANGUAGE = re.compile(r"multi|[a-z]{2,3}(-[a-z0-9]{2,8})*", re.IGNORECASE)
_WANTED: Final = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
_TRUTH: Final[dict[str, Any]] = {"true": True, "1": True, "false": False, "0": False}


def option(default: Any, group: str, help: str, **limits: Any) -> Any:
    """A field with the metadata of its checks, completion and form. A default of () means many texts."""
    limits = {"choices": (), "suggestions": (), "minimum": None, "maximum": None, **limits}
    return field(default=default, metadata={"group": group, "help": help, "many": default == (), **limits})


def signed(cls: type[T]) -> type[T]:
    """Show the options of a class to Tab and Shift-Tab: its `__new__` takes any name, to refuse wrong ones."""
    signature = inspect.signature(vars(cls)["__init__"])
    named = [p for p in signature.parameters.values() if p.name != "self"]
    type.__setattr__(cls, "__signature__", signature.replace(parameters=named, return_annotation=cls.__name__))
    return cls


def fields_of(cls: Any) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a class of options, by name."""
    return {f.name: f for f in dataclasses.fields(cls)}


class Options:
    """A frozen object with the wire's names; its subclasses, which are dataclasses, say for which service."""

    path: ClassVar[str]
    """Where the service is."""
    unnamed: ClassVar[str | None] = None
    """The model of a request that names none; None where each request names one."""

    model: str
    encoding: str | None
    sample_rate: int | None
    extra: Mapping[str, Any]

    def __new__(cls, *unnamed: Any, **options: Any) -> Self:
        """Refuse unknown names."""
        if unnamed:
            raise ConfigurationError(f"Options are given by name, such as {cls.__name__}(model='nova-3').")
        # The generated __init__ would raise a bare TypeError.
        known = fields_of(cls)
        for name in options:
            if name not in known:
                other = next((kind.__name__ for kind in _kinds(Options) if name in fields_of(kind)), "")
                hint = f" It is one of {other}." if other else nearest(name, list(known))
                raise ConfigurationError(
                    f"There is no option {name!r}{f' of {cls.__name__}' * bool(other)}.{hint} "
                    f"A parameter that dgnb does not know goes in extra={{{name!r}: …}}."
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        known = fields_of(type(self))
        for name, f in known.items():
            if name != "extra":
                object.__setattr__(self, name, _checked(f, getattr(self, name)))
        if not isinstance(self.extra, Mapping):
            raise ConfigurationError("extra is a mapping of further wire parameters, such as {'filler_words': True}.")
        for name in self.extra:
            if name != "extra" and name in known:
                raise ConfigurationError(
                    f"{name!r} is an option of its own: write {name}=…, not extra={{{name!r}: …}}."
                )
        extra = {native(name): native(value) for name, value in self.extra.items()}
        extra = {name: list(many(value)) if _is_many(value) else value for name, value in extra.items()}
        object.__setattr__(self, "extra", extra)
        self._check()

    def _check(self) -> None:
        """Refuse what is wrong beyond the limits of single fields, and say what to do instead."""

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.changed().items())
        return f"{type(self).__name__}({given})"

    def _repr_html_(self) -> str:
        known, name = fields_of(type(self)), type(self).__name__
        rows = [
            (escaped(option), f"<b>{escaped(repr(value))}</b>", known[option].metadata["help"])
            for option, value in self.changed().items()
        ]
        return quiet(f"{name}: what differs from the defaults{grid(rows)}" if rows else f"{name}: all defaults")

    def changed(self) -> dict[str, Any]:
        """The options that differ from the defaults, by name: an object that is made with them is equal."""
        changed: dict[str, Any] = {}
        for f in fields_of(type(self)).values():
            value = getattr(self, f.name)
            if f.name == "extra":
                if value:
                    changed["extra"] = dict(value)
            elif value != f.default or type(value) is not type(f.default):
                changed[f.name] = list(value) if f.metadata["many"] else value
        return changed

    def query(self) -> list[tuple[str, str]]:
        """The query of the request: booleans as `true` and `false`, lists as repeated keys.

        Example:
            ```python
            >>> dgnb.LiveOptions(punctuate=True, keyterm=["a", "b"]).query()
            [('model', 'nova-3'), ('punctuate', 'true'), ('keyterm', 'a'), ('keyterm', 'b')]
            ```
        """
        given = {"model": self.model, **self.changed()}
        extra = given.pop("extra", {})
        return [(name, as_text(item)) for name, value in [*given.items(), *extra.items()] for item in many(value)]

    @classmethod
    def from_query(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """The options of a request, for servers: the inverse of `query()`, with the same validation.

        Parameters that are not options go into `extra`. Without `model` it is the wire's own default, where it has one.

        Example:
            ```python
            >>> dgnb.LiveOptions.from_query([("model", "nova-3"), ("endpointing", "300")])
            LiveOptions(endpointing=300)
            ```

        Raises:
            ConfigurationError: A value is wrong, two do not go together, or one that takes one value was given twice.
        """
        found: dict[str, list[str]] = {}
        for name, text in pairs:
            found.setdefault(name, []).append(text)
        known = fields_of(cls)
        options: dict[str, Any] = {} if cls.unnamed is None else {"model": cls.unnamed}
        extra: dict[str, Any] = {}
        for name, texts in found.items():
            if name == "extra" or name not in known:
                extra[name] = texts[0] if len(texts) == 1 else texts
            elif known[name].metadata["many"]:
                options[name] = texts
            elif len(texts) > 1:
                raise ConfigurationError(f"{name} was given {len(texts)} times; it takes one value.")
            elif kind_of(known[name]) is bool and texts[0] not in ("true", "false"):
                raise ConfigurationError(f"{name} is true or false on the wire, not {texts[0]!r}.")
            else:
                options[name] = texts[0]
        return cls(**options, extra=extra)

    def for_audio(self, encoding: str | None, sample_rate: int | None, channels: int) -> Self:
        """The same options for audio of this form, which is not validated. `encoding=None`: audio with a header."""
        if encoding is None:
            sample_rate, channels = None, 1
        fitted = copy.copy(self)
        # copy() calls no __init__, and what it gave is not shared yet.
        vars(fitted).update(encoding=encoding, sample_rate=sample_rate)
        if "channels" in fields_of(type(self)):
            vars(fitted).update(channels=channels)
        return fitted


def check_encoding(encoding: object) -> None:
    """Refuse what is not an encoding of raw audio."""
    if encoding not in ENCODINGS:
        hint = nearest(str(encoding), ENCODINGS) or f" Use one of: {', '.join(ENCODINGS)}."
        raise ConfigurationError(f"encoding={encoding!r} is not an encoding of raw audio.{hint}")


def check_language(name: str, tag: str) -> None:
    """Refuse what is no language tag."""
    if not _LANGUAGE.fullmatch(tag):
        raise ConfigurationError(
            f"{name}={tag!r} is not a language tag. Use one such as 'en', 'en-GB' or 'de', or 'multi'."
        )


def refuse(conflicts: Sequence[tuple[object, str]]) -> None:
    """Raise the text of the first conflict that there is."""
    for conflict, text in conflicts:
        if conflict:
            raise ConfigurationError(text)


def _kinds(kind: type[Options]) -> list[type[Options]]:
    """The classes of options that people make."""
    below = kind.__subclasses__()
    return [each for one in below for each in _kinds(one)] if below else [kind]


def kind_of(f: dataclasses.Field[Any]) -> type[Any]:
    """The type of one value of an option, by its annotation."""
    return {"bool": bool, "int": int, "float": float}.get(str(f.type).partition(" ")[0], str)


def _checked(f: dataclasses.Field[Any], value: Any) -> Any:
    meta, value = f.metadata, native(value)
    if meta["many"]:
        # On the wire, True is a value of those that take several.
        values = () if value is False else ("true",) if value is True else many(value)
        if meta["maximum"] is not None and len(values) > meta["maximum"]:
            raise ConfigurationError(f"{f.name} takes at most {meta['maximum']} values, not {len(values)}.")
        return tuple(_checked_one(f, one) for one in values)
    if f.name == "endpointing" and as_text(value).strip().lower() == "false":
        return False
    if value is None and f.default is None:
        return value
    return _checked_one(f, value)


def _checked_one(f: dataclasses.Field[Any], value: Any) -> Any:
    meta, kind = f.metadata, kind_of(f)
    rule = f"{f.name} is {_WANTED[kind]}"
    rule += " or False" if f.name == "endpointing" else " or None" if kind is not str and f.default is None else ""
    if kind is int or kind is float:
        value = whole(rule, value, least=-sys.maxsize) if kind is int else _real(rule, value)
        if meta["minimum"] is not None and value < meta["minimum"]:
            raise ConfigurationError(f"{f.name} is at least {meta['minimum']}, not {value}.")
        if meta["maximum"] is not None and value > meta["maximum"]:
            raise ConfigurationError(f"{f.name} is at most {meta['maximum']}, not {value}.")
    elif kind is bool:
        value = _TRUTH.get(as_text(value).strip().lower(), value)
    if type(value) is not kind:
        raise ConfigurationError(f"{rule}, not {value!r}.")
    if kind is str and not value:
        raise ConfigurationError(f"{f.name} is empty. Leave it out instead.")
    if meta["choices"] and value not in meta["choices"]:
        allowed = [str(choice) for choice in meta["choices"]]
        hint = nearest(str(value), allowed) or f" Use one of: {', '.join(allowed)}."
        raise ConfigurationError(f"{f.name}={value!r} is not allowed.{hint}")
    return value


def _real(rule: str, value: Any) -> float:
    with contextlib.suppress(ValueError):
        value = float(value) if isinstance(value, str) else value
    return number(rule, value)


def many(value: Any) -> tuple[Any, ...]:
    """The values of an option that takes one or several."""
    return tuple(map(native, value)) if _is_many(value) else (value,)


def _is_many(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def as_text(value: Any) -> str:
    """One value as on the wire, where booleans are lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
