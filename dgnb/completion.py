"""What IPython adds: `model="nova` and Tab shows the models, and a coroutine that nobody awaits says so."""

from __future__ import annotations

import contextlib
import inspect
import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dgnb.exceptions import shell

_TYPED: Final = re.compile(r"""\b(\w+)["']?\s*[=:]\s*[\[(]?\s*["']([\w-]*)$""")


def _values(context: Any) -> dict[str, Any]:
    """A matcher of IPython's completer: the values of the option whose text is open at the cursor."""
    typed = _TYPED.search(context.text_until_cursor)
    values = _known(typed[1], context.full_text) if typed else ()
    fits = [value for value in values if typed and value.startswith(typed[2])]
    return {
        "completions": [SimpleCompletion(value, type="value") for value in fits],
        "matched_fragment": typed[2] if typed else "",
        "suppress": bool(fits),
    }


def _known(name: str, cell: str) -> Sequence[str]:
    """The values of an argument. The options are imported at the first Tab: most notebooks press none."""
    from dgnb.options import FluxOptions, LiveOptions, PrerecordedOptions, fields_of

    if name == "endpoint":
        return ("deepgram", "offline")
    # The class or the function that the cell names says which options are meant; else all are.
    calls = {LiveOptions: "LiveOptions", FluxOptions: "FluxOptions", PrerecordedOptions: "Prerecorded|transcribe_file"}
    meant = [kind for kind, call in calls.items() if re.search(call, cell)]
    about = [fields_of(kind)[name].metadata for kind in meant or calls if name in fields_of(kind)]
    known = [each.get("choices") or each.get("suggestions") or () for each in about]
    return list(dict.fromkeys(str(one) for each in known for one in each))


def _coroutine(value: types.CoroutineType[Any, Any, Any], printer: Any, cycle: bool) -> None:
    """Print the value of a cell where an `await` was forgotten."""
    own = Path(value.cr_code.co_filename).is_relative_to(Path(__file__).parent)
    if own and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
        name = value.__qualname__
        call = name.replace("LiveSession", "session") if "." in name else f"dgnb.{name}"
        printer.text(f"<not awaited: write `await {call}(…)`>")
    else:
        printer.text(repr(value))


if running := shell():
    running.display_formatter.formatters["text/plain"].for_type(types.CoroutineType, _coroutine)
    with contextlib.suppress(ImportError, AttributeError):  # IPython before 8.6 has no such matchers.
        from IPython.core.completer import SimpleCompletion, context_matcher

        running.Completer.custom_matchers.append(context_matcher()(_values))
