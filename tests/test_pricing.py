from __future__ import annotations

import math
from typing import Any

import pytest

import dgnb
from dgnb import FluxOptions, LiveOptions, PrerecordedOptions
from dgnb.exceptions import ConfigurationError
from dgnb.pricing import Price, Prices, cost_of, limit_seconds, told


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dgnb.prices,
        "data",
        {
            "nova-3": Price(0.0048, 0.0077, "2026-08"),
            "nova-3 multi": Price(0.0058, 0.0092, "2026-08"),
            "flux-general-en": Price(0.0065, None, "2026-05"),
            "diarize": Price(0.002, 0.002, "2026-05"),
        },
    )


@pytest.mark.parametrize(
    ("options", "minute"),
    [
        (LiveOptions(), 0.0048),
        (LiveOptions(model="nova-3-medical"), 0.0048),
        (LiveOptions(language="multi"), 0.0058),
        (LiveOptions(diarize_model="latest"), 0.0068),
        (PrerecordedOptions(diarize=True, language="multi"), 0.0112),
        (FluxOptions(), 0.0065),
        (FluxOptions(model="flux-general-multi"), None),
        (LiveOptions(model="nova-2"), None),
        (LiveOptions(model="nova-2", language="multi"), None),
    ],
)
def test_an_estimate_knows_the_model_the_language_and_the_speakers(options: Any, minute: float | None) -> None:
    assert cost_of(options, 60) == (None if minute is None else pytest.approx(minute))


def test_each_channel_is_billed_and_a_limit_is_the_inverse() -> None:
    assert cost_of(LiveOptions(), 90, channels=2) == pytest.approx(0.0144)
    assert limit_seconds(LiveOptions(), 0.0144, channels=2) == pytest.approx(90)
    dgnb.prices["nova-3"] = 0
    assert limit_seconds(LiveOptions(), 1) == math.inf


def test_an_own_price_is_used_and_shown() -> None:
    dgnb.prices["nova-2"] = 0.004, None
    assert cost_of(LiveOptions(model="nova-2-meeting"), 60) == pytest.approx(0.004)
    assert cost_of(PrerecordedOptions(model="nova-2"), 60) is None
    assert "nova-2                   0.0040          –  your own" in repr(dgnb.prices)
    assert "≈ US$0.0040 for 60.0 s with nova-2" in told(LiveOptions(model="nova-2"), 60)
    assert "0.0040 / –" in dgnb.prices._repr_html_()


@pytest.mark.parametrize("price", ["cheap", -1, float("nan"), (1,), (1, "x"), True])
def test_a_price_is_a_number_or_a_pair(price: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"US\$ a minute"):
        Prices()["nova-3"] = price


def test_a_limit_needs_a_price() -> None:
    with pytest.raises(ConfigurationError, match=r"dgnb\.prices\['nova-2'\] = 0\.005"):
        limit_seconds(LiveOptions(model="nova-2"), 1)
    with pytest.raises(ConfigurationError, match="max_cost is a number"):
        limit_seconds(LiveOptions(), -1)
