"""A form for `LiveOptions`, built from its fields: an option that is added there appears here by itself."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, Final

import ipywidgets as widgets

from dgnb.exceptions import ConfigurationError
from dgnb.options import MODELS, LiveOptions

__all__ = ["OptionsForm"]

_GROUPS: Final = {
    "words": "Words and speakers",
    "formatting": "Formatting",
    "timing": "Timing",
    "audio": "Raw audio and channels",
    "account": "Account and the rest",
}
_LANGUAGES: Final = ("en", "en-US", "en-GB", "multi", "de", "es", "fr", "hi", "it", "ja", "nl", "pt", "ru")
_SUGGESTIONS: Final = {"model": MODELS, "language": _LANGUAGES}
_WIDE: Final = {"description_width": "10em"}


class OptionsForm(widgets.VBox):  # type: ignore[misc]
    """Every option of `/v1/listen` as a control: the common ones first, the rest folded away.

    Args:
        options: What it shows at first.
        changed: Called, from whatever thread the kernel calls callbacks in, when somebody changed a control.
    """

    def __init__(self, options: LiveOptions, changed: Callable[[], object]) -> None:
        self.controls = {field.name: _control(field) for field in dataclasses.fields(LiveOptions)}
        groups: dict[str, list[Any]] = {"common": [], **{group: [] for group in _GROUPS}}
        for field in dataclasses.fields(LiveOptions):
            groups.setdefault(field.metadata["group"], []).append(self.controls[field.name])
        titled = {group: controls for group, controls in groups.items() if group != "common" and controls}
        more = widgets.Accordion([_wrapped(controls) for controls in titled.values()], selected_index=None)
        for index, group in enumerate(titled):
            more.set_title(index, _GROUPS.get(group, group.capitalize()))
        super().__init__([_wrapped(groups["common"]), more])
        self.show(options)
        for control in self.controls.values():
            control.observe(lambda _: changed(), "value")

    def show(self, options: LiveOptions) -> None:
        """Set every control to what `options` says."""
        for field in dataclasses.fields(LiveOptions):
            self.controls[field.name].value = _shown(field, getattr(options, field.name))

    def options(self) -> LiveOptions:
        """What the controls say.

        Raises:
            ConfigurationError: It is not valid, with the nearest that is.
        """
        chosen = {}
        for field in dataclasses.fields(LiveOptions):
            value = _read(field, self.controls[field.name].value)
            if value is not None:
                chosen[field.name] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the panel says it where it is read
            return LiveOptions(**chosen)

    def enable(self, enabled: bool) -> None:
        """Let the controls be changed, or not."""
        for control in self.controls.values():
            control.disabled = not enabled


def _wrapped(controls: list[Any]) -> Any:
    return widgets.Box(controls, layout=widgets.Layout(flex_flow="row wrap", width="100%"))


def _control(field: dataclasses.Field[Any]) -> Any:
    meta = field.metadata
    layout = widgets.Layout(width="22em", max_width="100%")
    common = {"description": field.name, "style": _WIDE, "layout": layout}
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
    elif field.name in _SUGGESTIONS:
        control = widgets.Combobox(options=_SUGGESTIONS[field.name], ensure_option=False, **common)
    else:
        control = widgets.Text(placeholder="–" if field.default is None else str(field.default), **common)
    if not isinstance(control, (widgets.Checkbox, widgets.Dropdown)):
        control.continuous_update = False
    # The first name is that of ipywidgets 8.
    setattr(control, "tooltip" if control.has_trait("tooltip") else "description_tooltip", meta["help"])
    return control


def _shown(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value as its control holds it."""
    if field.name == "extra":
        return "\n".join(f"{name}={_text(item)}" for name, items in value.items() for item in _list(items))
    if field.metadata["many"]:
        return "\n".join(value)
    if isinstance(field.default, bool) or field.metadata["choices"]:
        return value
    return "" if value is None else _text(value)


def _text(value: Any) -> str:
    """As on the wire, where booleans are lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(field: dataclasses.Field[Any], value: Any) -> Any:
    """What a control holds as a value; None for the default."""
    if field.name == "extra":
        return _extra(value)
    if field.metadata["many"]:
        return [line.strip() for line in value.splitlines() if line.strip()]
    if not isinstance(value, str) or field.metadata["choices"]:
        return value
    text = value.strip()
    if not text:
        return None
    if field.metadata["minimum"] is None:
        return text
    if text.lower() in ("false", "off", "no"):
        return False
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{field.name} is a whole number, not {text!r}.") from None


def _extra(text: str) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"extra is name=value, one a line, not {line!r}.")
        found.setdefault(name.strip(), []).append(value.strip())
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _list(items: Any) -> list[Any]:
    return list(items) if isinstance(items, (list, tuple)) else [items]
