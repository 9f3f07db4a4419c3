"""The fields of the panel's form, and what their values mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dgnb import FluxOptions, LiveOptions
from dgnb.exceptions import ConfigurationError
from dgnb.widgets import form

DEFAULTS = form.shown(LiveOptions())
FLUX = {**form.shown(LiveOptions(language="de")), **form.shown(FluxOptions())}


def test_every_option_has_a_field_that_shows_its_value() -> None:
    options = LiveOptions(
        model="nova-3-medical",
        language="en-GB",
        endpointing=False,
        interim_results=True,
        utterance_end_ms=1500,
        keyterm=["tretinoin", "a, b"],
        diarize_model="latest",
        redact=["pci", "ssn"],
        tag=["x"],
        extra={"filler_words": True, "further": ["1", "2"]},
    )
    values = form.shown(options)
    assert set(values) == {field.name for field in dataclasses.fields(LiveOptions)}
    again = form.options_of(values)
    assert dict(again.query()) == dict(options.query())
    assert dataclasses.replace(again, extra={}) == dataclasses.replace(options, extra={})
    assert form.options_of(DEFAULTS) == LiveOptions()


def test_every_field_has_a_label_a_help_and_the_default_that_it_shows() -> None:
    fields = {field["name"]: field for field in form.described()["live"]}
    assert {name: field["default"] for name, field in fields.items()} == DEFAULTS
    assert all(field["label"] and field["help"] for field in fields.values())
    assert fields["utterance_end_ms"]["label"] == "Utterance end"
    assert fields["vad_events"]["label"] == "VAD events"
    assert fields["diarize_model"]["choices"] == ["", "latest", "v1"]
    kinds = {name: fields[name]["kind"] for name in ("punctuate", "model", "keyterm", "callback_method", "extra")}
    assert kinds == {
        "punctuate": "bool",
        "model": "text",
        "keyterm": "lines",
        "callback_method": "choice",
        "extra": "lines",
    }
    assert [name for name, field in fields.items() if field["common"]][:3] == ["model", "language", "smart_format"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("endpointing", "fast", "whole number"),
        ("extra", "novalue", "name=value"),
        ("keyterm", "x\n" * 101, "at most 100"),
        ("language", "Englisch!", "language tag"),
        ("model", "nova-3-medcal", "Did you mean"),
        ("dictation", True, "needs punctuate"),
        ("channels", "2", "needs encoding"),
    ],
)
def test_a_wrong_value_is_told_at_its_field(name: str, text: Any, told: str) -> None:
    found = form.mistakes({**DEFAULTS, name: text})
    assert list(found) == [name]
    assert told in found[name]


def test_what_is_missing_is_told_at_the_empty_field() -> None:
    assert list(form.mistakes({**DEFAULTS, "sample_rate": "8000"})) == ["encoding"]
    assert list(form.mistakes({**DEFAULTS, "encoding": "mulaw"})) == ["sample_rate"]
    assert list(form.mistakes({**DEFAULTS, "encoding": "mulaw", "channels": "2"})) == ["sample_rate"]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"encoding": "mulwa", "sample_rate": "8000"}, ["encoding"]),
        ({"encoding": "mulwa", "sample_rate": "5"}, ["encoding", "sample_rate"]),
        ({"encoding": "mulaw", "sample_rate": "fast"}, ["sample_rate"]),
        ({"encoding": "mulwa", "sample_rate": "fast", "channels": "many"}, ["channels", "encoding", "sample_rate"]),
        ({"sample_rate": "fast"}, ["encoding", "sample_rate"]),
        ({"encoding": "mulaw", "sample_rate": "8000", "channels": "0"}, ["channels"]),
    ],
)
def test_each_mistake_in_a_format_is_told_and_no_other(changed: dict[str, str], wrong: list[str]) -> None:
    assert sorted(form.mistakes({**DEFAULTS, **changed})) == wrong


def test_all_mistakes_are_told_at_once_and_what_they_hide_is_not_made_up() -> None:
    wrong = {"endpointing": "soon", "model": "nova-3-medcal", "language": "??", "dictation": True, "extra": "x"}
    assert set(form.mistakes({**DEFAULTS, **wrong})) == set(wrong)
    mended = {**DEFAULTS, **wrong, "endpointing": "300", "extra": "x=1"}
    assert set(form.mistakes(mended)) == {"model", "language", "dictation"}
    assert form.mistakes(DEFAULTS) == {}
    assert form.mistakes({**DEFAULTS, "extra": "model=x"}).keys() <= {"extra", "model"}


def test_off_and_no_turn_endpointing_off_and_an_empty_field_is_the_default() -> None:
    for text in ("off", "no", "False", "false"):
        assert form.options_of({**DEFAULTS, "endpointing": text}).endpointing is False
    assert form.options_of({**DEFAULTS, "endpointing": " ", "model": ""}) == LiveOptions()


def test_the_format_of_raw_audio_belongs_to_the_source_and_not_to_the_options() -> None:
    given = LiveOptions(encoding="mulaw", sample_rate=8000, channels=2, punctuate=True)
    values = form.shown(given)
    assert form.options_of(values) == LiveOptions(punctuate=True)
    assert form.format_of(values) == {"encoding": "mulaw", "sample_rate": 8000, "channels": 2}
    assert form.format_of(DEFAULTS) == {}
    with pytest.raises(ConfigurationError, match="Did you mean"):
        form.format_of({**DEFAULTS, "encoding": "mulwa", "sample_rate": "8000"})


def test_a_preset_sets_what_it_names_and_resets_what_the_others_name() -> None:
    mine = {**DEFAULTS, "keyterm": "Praat"}
    values = mine
    for _ in range(2):
        for name, wanted in form.PRESETS.items():
            values = {**values, **form.presets()[name]}
            assert values == {**mine, **wanted}


def test_presets_are_valid_options() -> None:
    for preset in form.PRESETS.values():
        options = form.options_of({**DEFAULTS, **preset})
        assert set(options.changed()) == {name for name in preset if preset[name] != DEFAULTS[name]}


def test_a_model_of_flux_reads_the_fields_of_flux_and_no_others() -> None:
    fields = {field["name"]: field for field in form.described()["flux"]}
    assert set(fields) == {field.name for field in dataclasses.fields(FluxOptions)} | set(form.FORMAT)
    sliders = [field for field in fields.values() if field["kind"] == "slider"]
    limits = [(field["name"], field["minimum"], field["maximum"]) for field in sliders]
    assert limits == [("eot_threshold", 0.5, 1.0), ("eager_eot_threshold", 0.3, 0.9), ("eot_timeout_ms", 500, 60_000)]
    assert fields["eot_threshold"]["label"] == "End-of-turn threshold"
    given = FluxOptions(eot_threshold=0.85, eager_eot_threshold=0.5, eot_timeout_ms=8000, keyterm=["Praat"])
    # What LiveOptions alone have is kept, wrong as it may be, and not read.
    values = {**FLUX, **form.shown(given), "endpointing": "soon", "encoding": "mulaw", "sample_rate": "22050"}
    assert form.options_of(values) == given
    assert form.mistakes({**values, "channels": "2"}) == {}
    assert form.options_of({**FLUX, "model": "nova-3"}) == LiveOptions(language="de")
    assert form.tuned(LiveOptions(), values) == LiveOptions()
    assert form.tuned(FluxOptions(numerals=True), values) == dataclasses.replace(given, keyterm=(), numerals=True)
    assert form.tuned(given, FLUX) == FluxOptions(keyterm=["Praat"])


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"eager_eot_threshold": "0.8"}, ["eager_eot_threshold"]),
        ({"eager_eot_threshold": "0.8", "eot_threshold": "0.2"}, ["eot_threshold"]),
        ({"eager_eot_threshold": "2", "eot_threshold": "high"}, ["eager_eot_threshold", "eot_threshold"]),
        (
            {"eager_eot_threshold": "0.8", "eot_timeout_ms": "5", "keyterm": "x" * 101},
            ["eager_eot_threshold", "eot_timeout_ms", "keyterm"],
        ),
        ({"model": "flux"}, ["model"]),
        ({"language_hint": "de"}, ["language_hint"]),
    ],
)
def test_thresholds_out_of_order_are_told_at_their_fields_with_all_else(
    changed: dict[str, str], wrong: list[str]
) -> None:
    assert sorted(form.mistakes({**FLUX, **changed})) == wrong
