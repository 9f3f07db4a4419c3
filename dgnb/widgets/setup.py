"""`Setup`: what the fields of the panel make: a session, what is wrong with them, and the code that does the same."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from dgnb.endpoints import Endpoint, Secret, choose
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.options import LiveOptions
from dgnb.session import LiveSession
from dgnb.widgets import form
from dgnb.widgets.source import MICROPHONE, TYPED, UPLOAD, SourceChoice
from dgnb.widgets.view import OWN_SERVER

_DEFAULTS: Final = {"channels": "1", "pace": "1.0", "reconnect": "True", "record": "False"}


class Setup:
    """What the next session is made of: the fields' values, and what code gave and no field shows.

    `settings` are `pace`, `reconnect`, `max_cost`, `journal` and `record`. The code that others copy from a `shared`
    panel names neither of the last two.
    """

    def __init__(
        self,
        source: SourceChoice,
        key: str | Secret | None,
        settings: dict[str, Any],
        most_seconds: float | None,
        *,
        shared: bool,
    ) -> None:
        self.source = source
        self.key = key
        self._settings = settings
        self._most_seconds = most_seconds if shared else None
        self._shared = shared

    def session(self, values: Mapping[str, Any], before: LiveSession | None = None) -> LiveSession:
        """A session of the source, or of what the one before heard. `ConfigurationError`: a field is wrong or empty."""
        return LiveSession(
            before.transcript.audio if before else self.source.source(values),
            form.options_of(values),
            endpoint=self.endpoint(values),
            duration=before.audio_cursor if before else self._duration(values),
            **(self._settings | ({"record": False} if before else {})),  # it may read that file
        )

    def endpoint(self, values: Mapping[str, Any]) -> Endpoint:
        """Where the audio goes, and with which key. `ConfigurationError`: one is wrong or missing."""
        return choose(self._wanted(values), self.key)

    async def models(self, values: Mapping[str, Any]) -> list[list[Any]]:
        """Name and languages of each model that the service streams. Empty without a key, and without an answer."""
        from dgnb import account

        with contextlib.suppress(DgnbError):
            if (endpoint := self.endpoint(values)).key:
                table = (await account.models(endpoint=endpoint)).query("kind == 'stt' and streaming")
                return table[["canonical_name", "languages"]].dropna().to_numpy().tolist()
        return []

    def take_key(self, typed: str) -> str:
        """Keep a key where nothing saves it; what is wrong with it, or ""."""
        try:
            self.key = choose("deepgram", typed).key
        except ConfigurationError as error:
            return str(error)
        return ""

    def problems(self, values: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong, by field: all of it."""
        found = form.mistakes(values)
        checks: dict[str, Callable[[], object]] = {"duration": lambda: self._duration(values)}
        if values["endpoint"] == OWN_SERVER:
            checks["address"] = lambda: choose(self._wanted(values), "any-key")  # a wrong key is told at its own field
        found |= _told(checks)
        if objection := self.source.objection(values):
            found["path"] = objection
        return found

    def missing(self, values: Mapping[str, Any]) -> dict[str, str]:
        """What a start needs and is not there, by field."""
        field = {UPLOAD: "upload", TYPED: "path"}.get(values["source"], "source")
        problems = self.problems(values)
        checks: dict[str, Callable[[], object]] = {}
        if not problems.keys() & set(form.FORMAT):
            checks[field] = lambda: self.source.source(values)
        if values["endpoint"] != "offline" and "address" not in problems:
            checks["key"] = lambda: self.endpoint(values)
        return _told(checks)

    def code(self, values: Mapping[str, Any]) -> str:
        """See `ControlPanel.code`."""
        source, comment = self.source.code(values)
        options = form.options_of(values)
        arguments = [source, f"dgnb.{options!r}"] if options != LiveOptions() else [source]
        named = {
            "endpoint": self._wanted(values),
            **self.source.format(values),
            "duration": self._duration(values),
            **self._settings,
        }
        if self._shared:
            named = {name: value for name, value in named.items() if name not in ("journal", "record")}
        arguments += [
            f"{name}={value!r}" for name, value in named.items() if repr(value) != _DEFAULTS.get(name, "None")
        ]
        lines = ["import dgnb", ""]
        if self.key:
            arguments.append('api_key=getpass("Deepgram key: ")')
            lines.insert(0, "from getpass import getpass\n")
        if comment:
            lines.append(comment)
        call = "".join(f"    {argument},\n" for argument in arguments)
        end = "" if values["source"] == MICROPHONE else "await session\n"  # a cell that runs may hold up the microphone
        return "\n".join([*lines, f"session = dgnb.LiveSession(\n{call}).start()", end])

    def _wanted(self, values: Mapping[str, Any]) -> str:
        return str(values["address"]).strip() if values["endpoint"] == OWN_SERVER else str(values["endpoint"])

    def _duration(self, values: Mapping[str, Any]) -> float | None:
        text = str(values["duration"]).strip()
        if not text:
            return self._most_seconds
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ConfigurationError(f"Seconds is a positive number, or empty for no limit, not {text!r}.")
        return seconds if self._most_seconds is None else min(seconds, self._most_seconds)


def doubts(values: Mapping[str, Any]) -> dict[str, str]:
    """Warnings about what is valid but likely to disappoint, by field."""
    hints = {}
    offline = values["endpoint"] == "offline"
    if offline and str(values["language"]).lower().partition("-")[0] not in ("en", ""):
        hints["language"] = "The offline engine knows English only, unless DGNB_OFFLINE_MODEL names another model."
    if offline:
        told = "The offline engine does not tell speakers apart."
        hints |= {name: told for name in ("diarize", "diarize_model") if values[name]}
    if values["diarize"]:
        hints.setdefault("diarize", "Deprecated by Deepgram: diarize_model asks for the same.")
    return hints


def _told(checks: Mapping[str, Callable[[], object]]) -> dict[str, str]:
    """The message of each check that fails, by its name."""
    found = {}
    for name, check in checks.items():
        try:
            check()
        except ConfigurationError as error:
            found[name] = str(error)
    return found
