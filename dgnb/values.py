"""Arguments of other libraries' types as Python's own text and numbers, and the checks of numbers and hosts."""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import math
import numbers
import re
import sys
from decimal import Decimal
from typing import Any, Final

from dgnb.exceptions import ConfigurationError

ABOVE_0: Final = math.ulp(0.0)
"""The smallest positive number: the lower bound of what must be positive."""


def native(value: Any) -> Any:
    """Text or a number as Python's own `str`, `bool`, `int` or `float`; anything else unchanged.

    Takes members of an `Enum` by their value, NumPy's scalars and arrays without a dimension, subclasses of `str`,
    `int` and `float`, decimals and fractions, and the URL objects of yarl, httpx, pydantic and `urllib.parse`.
    """
    if isinstance(value, enum.Enum):
        return native(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        # Times and durations would be numbers without their unit.
        return value if getattr(value.dtype, "kind", None) in ("m", "M") else value.item()
    if isinstance(value, numbers.Integral):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, numbers.Real | Decimal):
        return float(value)
    if hasattr(value, "scheme") and hasattr(value, "host"):
        return str(value)
    # An http response has geturl() too.
    return value.geturl() if isinstance(value, tuple) and hasattr(value, "geturl") else value


def number(rule: str, value: Any, least: float = -sys.float_info.max, most: float = sys.float_info.max) -> float:
    """A number within its bounds, as a float; `ConfigurationError` for anything else, NaN too.

    `rule` begins the error: "duration is a positive number of seconds".
    """
    given = native(value)
    if isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= most:
        return float(given)
    raise ConfigurationError(f"{rule}, not {value!r}.")


def whole(rule: str, value: Any, least: int = 1, most: int = 10**15 - 1) -> int:
    """As `number`, but a whole one, also as the text of its digits, as on the wire."""
    given = native(value)
    if isinstance(given, str) and re.fullmatch(r"\d{1,15}", given, re.ASCII):
        given = int(given)
    elif isinstance(given, float) and given.is_integer():
        # A column of a table that has a missing value holds floats.
        given = int(given)
    if type(given) is int and least <= given <= most:
        return given
    raise ConfigurationError(f"{rule}, not {value!r}.")


def is_loopback(host: str | None) -> bool:
    """Whether a host name, or an address with or without brackets, can only be this machine."""
    host = (host or "").removeprefix("[").removesuffix("]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower().removesuffix(".") == "localhost"
