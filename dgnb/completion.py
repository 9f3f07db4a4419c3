"""Completion of option values in IPython: `model="nova` and Tab shows the models."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from typing import Any, Final

from dgnb.options import LiveOptions

_VALUES: Final = {
    "endpoint": ("deepgram", "offline"),
    **{f.name: f.metadata.get("choices") or f.metadata.get("suggestions") for f in dataclasses.fields(LiveOptions)},
}
_TYPED: Final = re.compile(r"""\b(\w+)["']?\s*[=:]\s*[\[(]?\s*["']([\w-]*)$""")


def _values(context: Any) -> dict[str, Any]:
    """A matcher of IPython's completer: the values of the option whose text is open at the cursor."""
    typed = _TYPED.search(context.text_until_cursor)
    values = (_VALUES.get(typed[1]) or ()) if typed else ()
    fits = [value for value in values if typed and value.startswith(typed[2])]
    return {
        "completions": [SimpleCompletion(value, type="value") for value in fits],
        "matched_fragment": typed[2] if typed else "",
        "suppress": bool(fits),
    }


if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
    with contextlib.suppress(ImportError, AttributeError):  # IPython before 8.6 has no such matchers.
        from IPython.core.completer import SimpleCompletion, context_matcher

        shell.Completer.custom_matchers.append(context_matcher()(_values))
