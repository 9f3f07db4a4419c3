"""`prices`: what Deepgram asks for a minute of audio, as a table that you may edit; and estimates made with it."""

from __future__ import annotations

from collections import UserDict
from typing import Any, Final, NamedTuple

from dgnb.exceptions import ConfigurationError
from dgnb.notices import escaped, grid, quiet
from dgnb.options import Options, PrerecordedOptions
from dgnb.values import native, number

__all__ = ["Price", "Prices", "cost_of", "limit_seconds", "prices"]


class Price(NamedTuple):
    """US$ a minute and channel, of a stream and of a recording; None where it is not known or not offered."""

    streaming: float | None
    recorded: float | None
    date: str = "your own"


class Prices(UserDict[str, Price]):
    """List prices of single models. A name stands for all models that begin with it; `… multi` for `language="multi"`.

    Prices change often, and public lists of the same month differ: an estimate is no bill. Your own plan's are better.

    Example:
        ```python
        dgnb.prices["nova-3"] = 0.0042, 0.0065  # US$ a minute: streams, recordings
        ```
    """

    def __setitem__(self, name: str, price: Any) -> None:
        given = price if isinstance(price, tuple | list) else (price, price)
        rule = f"The price of {name!r} is US$ a minute, or a pair of them for streams and recordings (or None)"
        if len(given) not in (2, 3):
            raise ConfigurationError(f"{rule}, not {price!r}.")
        streaming, recorded = (None if one is None else number(rule, one, 0.0) for one in given[:2])
        self.data[str(native(name))] = Price(streaming, recorded, *map(str, given[2:]))

    def __repr__(self) -> str:
        lines = [
            f"{name:22}{_shown(price.streaming):>9}{_shown(price.recorded):>11}  {price.date}"
            for name, price in self.items()
        ]
        return "\n".join([f"{'US$ a minute':22}{'streams':>9}{'recordings':>11}  list of", *lines])

    def _repr_html_(self) -> str:
        rows = [
            (escaped(name), f"{_shown(price.streaming)} / {_shown(price.recorded)}", escaped(price.date))
            for name, price in self.items()
        ]
        return quiet(f"US$ a minute for streams / recordings, and the date of the list{grid(rows)}")

    def of(self, options: Options) -> Price | None:
        """The price for these options, with that of telling speakers apart; None where none is known."""
        model = options.model
        if getattr(options, "language", "") == "multi":
            names = [name for name in self if name.endswith(" multi") and model.startswith(name.removesuffix(" multi"))]
        else:
            names = [name for name in self if model.startswith(name)]
        if not names:
            return None
        price = self[max(names, key=len)]
        more = self.get("diarize")
        if more is None or not (getattr(options, "diarize", False) or getattr(options, "diarize_model", None)):
            return price
        streaming, recorded = (
            None if one is None or other is None else one + other
            for one, other in ((price.streaming, more.streaming), (price.recorded, more.recorded))
        )
        return Price(streaming, recorded, price.date)


def _shown(price: float | None) -> str:
    return "–" if price is None else f"{price:.4f}"


prices: Final = Prices()
"""The table in use. Sources: public lists of the dates that it names; for recordings they differ by half."""
prices.update(
    {
        "nova-3": Price(0.0048, 0.0077, "2026-08"),
        "nova-3 multi": Price(0.0058, 0.0092, "2026-08"),
        "flux-general-en": Price(0.0065, None, "2026-05"),
        "flux-general-multi": Price(0.0078, None, "2026-11"),
        "diarize": Price(0.002, 0.002, "2026-05"),
    }
)


def cost_of(options: Options, seconds: float, channels: int = 1) -> float | None:
    """What so much audio costs at Deepgram, in US$; each channel is billed. None: no price is known."""
    rate = _rate(options)
    return None if rate is None else rate * seconds / 60 * channels


def limit_seconds(options: Options, max_cost: float, channels: int = 1) -> float:
    """Seconds of audio that cost `max_cost` US$.

    Raises:
        ConfigurationError: No price is known, or `max_cost` is no positive number.
    """
    max_cost = number("max_cost is a number of US$ from 0 on", max_cost, 0.0)
    rate = _rate(options)
    if rate is None:
        raise ConfigurationError(
            f"max_cost needs a price, and none is known for {options.model}. Set yours, in US$ a minute: "
            f"dgnb.prices[{options.model!r}] = 0.005"
        )
    return max_cost / (rate * channels) * 60 if rate else float("inf")


def told(options: Options, seconds: float, channels: int = 1) -> str:
    """An estimate in words; "" where no price is known."""
    cost, price = cost_of(options, seconds, channels), prices.of(options)
    if cost is None or price is None:
        return ""
    return f"≈ US${cost:.4f} for {seconds:.1f} s with {options.model}, at prices of {price.date} (dgnb.prices)"


def _rate(options: Options) -> float | None:
    price = prices.of(options)
    if price is None:
        return None
    return price.recorded if isinstance(options, PrerecordedOptions) else price.streaming
