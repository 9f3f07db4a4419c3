"""A form for `LiveOptions`, built from its fields: a new option appears here by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Final

import ipywidgets as widgets

from dgnb.audio.source import SourceFormat
from dgnb.exceptions import ConfigurationError
from dgnb.options import LiveOptions, as_text
from dgnb.widgets.source import row, sized

_GROUPS: Final = {
    "words": "Words and speakers",
    "formatting": "Formatting",
    "timing": "Timing",
    "audio": "Raw audio and channels",
    "account": "Account and the rest",
}
_WIDE: Final = {"description_width": "10em"}
FORMAT: Final = ("encoding", "sample_rate", "channels")
"""The fields that say how a raw source is read. They are shown among the options, and are not part of them."""


class OptionsForm(widgets.VBox):  # type: ignore[misc]
    """Every option of `/v1/listen` as a control: the common ones first, the rest folded away.

    `changed` is called when somebody changed a control, in the thread in which the kernel calls callbacks.
    """

    def __init__(self, options: LiveOptions, changed: Callable[[], object]) -> None:
        self.controls = {field.name: _control(field) for field in dataclasses.fields(LiveOptions)}
        groups: dict[str, list[Any]] = {group: [] for group in ("common", *_GROUPS)}
        for field in dataclasses.fields(LiveOptions):
            groups[field.metadata["group"]].append(self.controls[field.name])
        common, *others = (widgets.Box(controls, layout=row()) for controls in groups.values())
        more = widgets.Accordion(others, selected_index=None)
        for index, title in enumerate(_GROUPS.values()):
            more.set_title(index, title)
        super().__init__([common, more])
        self.show(options)
        for control in self.controls.values():
            control.observe(lambda _: changed(), "value")

    def show(self, options: LiveOptions) -> None:
        """Set every control to the value in `options`."""
        for field in dataclasses.fields(LiveOptions):
            self.controls[field.name].value = _shown(field, getattr(options, field.name))

    def options(self) -> LiveOptions:
        """The options that the controls show, without the format of a raw source."""
        chosen = self._chosen(field.name for field in dataclasses.fields(LiveOptions) if field.name not in FORMAT)
        return LiveOptions(**chosen)

    def source_format(self) -> dict[str, Any]:
        """How a raw source is read: `encoding`, `sample_rate` and `channels`; empty for audio with a header."""
        chosen = {"encoding": None, "sample_rate": None, **self._chosen(FORMAT)}
        found = SourceFormat.of(**chosen)
        return {name: getattr(found, name) for name in FORMAT} if found else {}

    def _chosen(self, names: Iterable[str]) -> dict[str, Any]:
        read = {name: _read(_FIELDS[name], self.controls[name].value) for name in names}
        return {name: value for name, value in read.items() if value is not None}


_FIELDS: Final = {field.name: field for field in dataclasses.fields(LiveOptions)}


def _control(field: dataclasses.Field[Any]) -> Any:
    meta = field.metadata
    common = {"description": field.name, "style": _WIDE, "layout": sized("22em")}
    if field.name == "extra":
        control = widgets.Textarea(placeholder="name=value, one a line", rows=2, **common)
    elif meta["many"]:
        choices = ", ".join(meta["choices"])
        control = widgets.Textarea(placeholder=choices or "one a line", rows=2, **common)
    elif isinstance(field.default, bool):
        control = widgets.Checkbox(**common)
    elif meta["choices"]:
        named = [(str(choice), choice) for choice in meta["choices"]]
        control = widgets.Dropdown(options=named if field.default is not None else [("–", None), *named], **common)
    elif meta["suggestions"]:
        control = widgets.Combobox(options=meta["suggestions"], ensure_option=False, **common)
    else:
        control = widgets.Text(placeholder="–" if field.default is None else str(field.default), **common)
    if not isinstance(control, (widgets.Checkbox, widgets.Dropdown)):
        control.continuous_update = False
    # ipywidgets 8 calls it tooltip, ipywidgets 7 description_tooltip.
    setattr(control, "tooltip" if control.has_trait("tooltip") else "description_tooltip", meta["help"])
    return control


def _shown(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value of an option in the form that its control takes."""
    if field.name == "extra":
        many = {name: items if isinstance(items, (list, tuple)) else [items] for name, items in value.items()}
        return "\n".join(f"{name}={as_text(item)}" for name, items in many.items() for item in items)
    if field.metadata["many"]:
        return "\n".join(value)
    if isinstance(field.default, bool) or field.metadata["choices"]:
        return value
    return "" if value is None else as_text(value)


def _read(field: dataclasses.Field[Any], value: Any) -> Any:
    """The value of an option from what its control holds; None for the default."""
    if field.name == "extra":
        return _extra(value)
    if field.metadata["many"]:
        return [line.strip() for line in value.splitlines() if line.strip()]
    if not isinstance(value, str) or field.metadata["choices"]:
        return value
    text = value.strip()
    if field.name == "endpointing" and text.lower() in ("false", "off", "no"):
        return False
    return text or None


def _extra(text: str) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"extra is name=value, one a line, not {line!r}.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
