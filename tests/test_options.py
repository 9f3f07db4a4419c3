"""Right options reach the wire in its spelling; wrong ones are refused with the nearest right one."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dgnb
from dgnb.exceptions import ConfigurationError
from dgnb.options import (
    ENCODINGS,
    MODELS,
    FluxOptions,
    LiveOptions,
    Options,
    PrerecordedOptions,
    as_options,
    as_recorded,
)

FIELDS = {f.name: f for f in dataclasses.fields(LiveOptions)}
# Deepgram's list for /v1/listen, without those that its streaming specification does not have.
WIRE = {
    *("model", "version", "language", "language_hint", "punctuate", "smart_format", "no_delay", "numerals"),
    *("profanity_filter", "dictation", "interim_results", "endpointing", "utterance_end_ms", "vad_events", "diarize"),
    *("diarize_model", "multichannel", "channels", "encoding", "sample_rate", "keyterm", "keywords", "search"),
    *("replace", "redact", "detect_entities", "tag", "extra", "callback", "callback_method", "mip_opt_out"),
}


def test_there_is_an_option_for_every_parameter_of_the_service() -> None:
    assert set(FIELDS) == WIRE


def test_every_option_can_be_shown_in_a_form() -> None:
    for f in FIELDS.values():
        assert f.metadata["help"].endswith(".")
        assert f.metadata["group"] in ("common", "formatting", "timing", "words", "audio", "account")


# To the wire


def test_only_what_differs_from_the_wire_is_sent() -> None:
    assert LiveOptions().query() == [("model", "nova-3")]


def test_booleans_numbers_and_lists_are_spelled_as_on_the_wire() -> None:
    options = LiveOptions(
        smart_format=True, endpointing=False, interim_results=True, utterance_end_ms=1000, keyterm=["a", "b c"]
    )
    assert options.query() == [
        ("model", "nova-3"),
        ("smart_format", "true"),
        ("keyterm", "a"),
        ("keyterm", "b c"),
        ("interim_results", "true"),
        ("endpointing", "false"),
        ("utterance_end_ms", "1000"),
    ]


def test_endpointing_of_zero_is_not_endpointing_turned_off() -> None:
    assert ("endpointing", "0") in LiveOptions(endpointing=0).query()
    assert ("endpointing", "false") in LiveOptions(endpointing=False).query()


def test_further_parameters_go_through_untouched() -> None:
    options = LiveOptions(extra={"filler_words": True, "new": ["a", 1], "extra": "key:value"})
    assert options.query()[1:] == [("filler_words", "true"), ("new", "a"), ("new", "1"), ("extra", "key:value")]


def test_one_string_is_one_value() -> None:
    assert LiveOptions(keyterm="dgnb").keyterm == ("dgnb",)
    assert LiveOptions(tag=(word for word in ("a", "b"))).tag == ("a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_the_documentation_is_taken(model: str) -> None:
    assert LiveOptions(model=model).model == model


@pytest.mark.parametrize(
    "model", ["nova-4", "nova-4-general", "nova-12", "7f1c1a2b-7b1e-4d6c-9f57-0123456789ab", "mine"]
)
def test_models_that_are_not_known_here_are_taken(model: str) -> None:
    assert LiveOptions(model=model).model == model


@pytest.mark.parametrize("language", ["en", "en-GB", "zh-Hans", "zh-TW", "multi", "es-419", "pt-br"])
def test_languages_are_taken(language: str) -> None:
    assert LiveOptions(language=language).language == language


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_taken(encoding: str) -> None:
    rate = {"amr-nb": 8000}.get(encoding, 16_000)
    assert LiveOptions(encoding=encoding, sample_rate=rate).encoding == encoding


@pytest.mark.parametrize("callback", ["https://127.0.0.1/x", "ws://127.0.0.1:8080", "wss://127.0.0.1:8443/a?b=c"])
def test_a_callback_is_taken(callback: str) -> None:
    assert LiveOptions(callback=callback, callback_method="PUT").callback == callback


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"punctuate": "true"}, {"punctuate": True}),
        ({"punctuate": " False "}, {}),
        ({"punctuate": 1, "diarize": 0}, {"punctuate": True}),
        ({"punctuate": "1", "diarize": "0"}, {"punctuate": True}),
        ({"endpointing": "false"}, {"endpointing": False}),
        ({"endpointing": "300"}, {"endpointing": 300}),
        ({"endpointing": "0"}, {"endpointing": 0}),
        ({"endpointing": 1}, {"endpointing": 1}),
        ({"utterance_end_ms": "1000", "interim_results": "true"}, {"utterance_end_ms": 1000, "interim_results": True}),
        ({"encoding": "linear16", "sample_rate": "8000"}, {"encoding": "linear16", "sample_rate": 8000}),
    ],
)
def test_a_value_in_the_form_of_the_wire_is_understood(given: dict[str, Any], meant: dict[str, Any]) -> None:
    options = LiveOptions(**given)
    assert options == LiveOptions(**meant)
    assert type(options.punctuate) is bool
    assert type(options.endpointing) in (int, bool)


def test_options_are_taken_as_an_object_as_a_mapping_or_by_name() -> None:
    wanted = LiveOptions(language="de", punctuate=True)
    for options, named in (
        (wanted, {}),
        ({"language": "de", "punctuate": True}, {}),
        (None, {"language": "de", "punctuate": "true"}),
    ):
        assert as_options(options, named) == wanted
    with pytest.raises(ConfigurationError, match=r"Did you mean .language."):
        as_options({"langauge": "de"}, {})
    with pytest.raises(ConfigurationError, match="as LiveOptions or by name"):
        as_options({"language": "de"}, {"punctuate": True})
    with pytest.raises(ConfigurationError, match="a LiveOptions or FluxOptions, or a dict of options, not list"):
        as_options([("language", "de")], {})


@pytest.mark.parametrize("takes", [LiveOptions, dgnb.LiveSession, dgnb.transcribe, dgnb.ControlPanel])
def test_the_signature_names_every_option(takes: Any) -> None:
    parameters = inspect.signature(takes).parameters
    assert {f.name for f in dataclasses.fields(LiveOptions)} <= set(parameters)
    assert parameters["utterance_end_ms"].default is None
    assert parameters["smart_format"].kind is inspect.Parameter.KEYWORD_ONLY
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


# Wrong ones


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modle": "nova-3"}, "There is no option 'modle'. Did you mean 'model'"),
        ({"filler_words": True}, "A parameter that dgnb does not know goes in extra={'filler_words': …}"),
        ({"model": "nova3"}, "There is no model 'nova3'. Did you mean 'nova-3'"),
        ({"model": "Nova 2 General"}, "Did you mean 'nova-2-general'"),
        ({"model": "flux-general-en"}, "/v2/listen"),
        ({"model": "whisper-large"}, "cannot be streamed"),
        ({"model": ""}, "model is empty. Leave it out"),
        ({"model": None}, "model is text, not None"),
        ({"language": "english!"}, "is not a language tag"),
        ({"language": ["en"]}, "language is text"),
        ({"punctuate": "yes"}, "punctuate is True or False, not 'yes'"),
        ({"punctuate": 2}, "punctuate is True or False, not 2"),
        ({"punctuate": None}, "punctuate is True or False, not None"),
        ({"endpointing": True}, "endpointing is a whole number or False, not True"),
        ({"endpointing": -1}, "endpointing is at least 0"),
        ({"endpointing": 1.5}, "endpointing is a whole number or False, not 1.5"),
        ({"utterance_end_ms": 999, "interim_results": True}, "utterance_end_ms is at least 1000, not 999"),
        ({"utterance_end_ms": "soon", "interim_results": True}, "whole number or None"),
        ({"channels": 21, "encoding": "linear16", "sample_rate": 8000}, "channels is at most 20, not 21"),
        ({"channels": None}, "channels is a whole number"),
        ({"diarize_model": "v2"}, "diarize_model='v2' is not allowed. Did you mean 'v1'|Use one of: latest, v1"),
        ({"diarize_model": "newest"}, "is not allowed"),
        ({"redact": "pcii"}, "Did you mean 'pci'"),
        ({"redact": [True]}, "redact is text"),
        ({"keyterm": [""]}, "keyterm is empty"),
        ({"keyterm": 7}, "keyterm is text, not 7"),
        ({"keyterm": b"x"}, "keyterm is text"),
        ({"keyterm": ["x"] * 101}, "keyterm takes at most 100 values, not 101"),
        ({"search": ["x"] * 51}, "search takes at most 50"),
        ({"encoding": "linear-16", "sample_rate": 8000}, "Did you mean 'linear16'"),
        ({"encoding": "nonsense", "sample_rate": 8000}, "Use one of: linear16"),
        ({"sample_rate": 0, "encoding": "linear16"}, "sample_rate is at least 1"),
        ({"callback": "ftp://127.0.0.1"}, "callback is an http"),
        ({"callback_method": "PATCH", "callback": "http://127.0.0.1"}, "callback_method='PATCH' is not allowed"),
        ({"extra": [("a", 1)]}, "extra is a mapping"),
        ({"extra": {"model": "nova-2"}}, "'model' is an option of its own"),
    ],
)
def test_a_wrong_option_is_refused_with_the_right_one(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LiveOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keywords": "a:1"}, "keywords does not work with nova-3. Use keyterm"),
        ({"model": "nova-2", "keyterm": "a"}, "keyterm needs nova-3, not nova-2"),
        ({"model": "base", "language": "multi"}, "language='multi' needs nova-2 or nova-3"),
        ({"language_hint": "de"}, "language_hint needs model='nova-3' and language='multi'"),
        ({"language_hint": "de", "language": "multi", "model": "nova-2"}, "language_hint needs model='nova-3'"),
        ({"utterance_end_ms": 1000}, "utterance_end_ms needs interim_results=True"),
        ({"sample_rate": 16_000}, "sample_rate needs encoding"),
        ({"encoding": "linear16"}, "encoding needs sample_rate"),
        ({"channels": 2}, "channels needs encoding and sample_rate"),
        ({"dictation": True}, "dictation needs punctuate=True"),
        ({"callback_method": "PUT"}, "callback_method needs callback"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LiveOptions(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"keywords": ["a:1", "b"], "model": "nova-2"},
        {"language_hint": ["de", "fr"], "language": "multi"},
        {"model": "nova-2", "language": "multi"},
        {"dictation": True, "smart_format": True},
        {"dictation": True, "detect_entities": True},
        {"replace": ["a:b", "c:"], "redact": ["pci", "ssn"]},
        {"model": "mine", "keyterm": "a", "language_hint": "de", "language": "multi"},
    ],
)
def test_options_that_go_together_are_taken(options: dict[str, Any]) -> None:
    LiveOptions(**options)


def test_options_are_given_by_name() -> None:
    with pytest.raises(ConfigurationError, match="Options are given by name"):
        LiveOptions("nova-3")  # type: ignore[misc]


# As an object


def test_the_repr_shows_what_differs_and_can_be_read_again() -> None:
    assert repr(LiveOptions()) == "LiveOptions()"
    options = LiveOptions(language="de", keyterm=["a"], endpointing=False, extra={"x": 1})
    assert repr(options) == "LiveOptions(language='de', keyterm=['a'], endpointing=False, extra={'x': 1})"
    assert eval(repr(options)) == options


def test_options_cannot_be_changed_but_copied_with_a_change() -> None:
    options = LiveOptions(language="de")
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.language = "fr"  # type: ignore[misc]
    changed = dataclasses.replace(options, punctuate=True)
    assert changed == LiveOptions(language="de", punctuate=True)
    with pytest.raises(ConfigurationError):
        dataclasses.replace(options, endpointing="soon")


def test_options_can_be_copied_pickled_and_used_as_a_key() -> None:
    options = LiveOptions(keyterm=["a"], extra={"x": [1]})
    for again in (copy.copy(options), copy.deepcopy(options), pickle.loads(pickle.dumps(options))):
        assert again == options
        assert hash(again) == hash(options)


def test_a_list_that_is_changed_afterwards_does_not_change_the_options() -> None:
    terms, extra = ["a"], {"x": 1}
    options = LiveOptions(keyterm=terms, extra=extra)
    terms.append("b")
    extra["y"] = 2
    assert options.changed() == {"keyterm": ["a"], "extra": {"x": 1}}


def test_options_fit_the_audio_that_was_found() -> None:
    options = LiveOptions(punctuate=True)
    raw = options.for_audio("linear16", 16_000, 2)
    assert (raw.encoding, raw.sample_rate, raw.channels, raw.punctuate) == ("linear16", 16_000, 2, True)
    assert raw.for_audio(None, None, 2) == options
    assert LiveOptions(diarize=True).for_audio("linear16", 8000, 1).diarize


# Back from the wire


def right_options() -> st.SearchStrategy[dict[str, Any]]:
    """Options that are right together."""
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)
    flags = ("smart_format", "punctuate", "detect_entities", "numerals", "profanity_filter", "no_delay", "vad_events")
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys((*flags, "mip_opt_out", "multichannel", "interim_results"), st.booleans()),
            "model": st.sampled_from(["nova-3", "nova-3-medical", "mine"]),
            "language": st.sampled_from(["en", "de-CH", "multi"]),
            "endpointing": st.just(False) | st.integers(0, 10_000),
            "keyterm": st.lists(text, max_size=3),
            "search": st.lists(text, max_size=3),
            "replace": st.lists(st.builds("{}:{}".format, text.filter(lambda t: ":" not in t), text), max_size=3),
            "tag": st.lists(text, max_size=3),
            "diarize_model": st.sampled_from([None, "latest", "v1"]),
            "extra": st.dictionaries(st.sampled_from(["filler_words", "extra"]), text, max_size=2),
        },
    )


@given(right_options())
@settings(max_examples=150, deadline=None)
def test_a_server_reads_the_same_options_from_the_query(given: dict[str, Any]) -> None:
    options = LiveOptions(**given)
    assert LiveOptions.from_query(options.query()) == options
    assert LiveOptions(**options.changed()) == options


def test_a_query_without_a_model_means_the_default_of_the_wire() -> None:
    assert LiveOptions.from_query([]).model == "base-general"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("punctuate", "yes")], "punctuate is true or false on the wire, not 'yes'"),
        ([("punctuate", "1")], "punctuate is true or false on the wire, not '1'"),
        ([("punctuate", "True")], "punctuate is true or false on the wire, not 'True'"),
        ([("endpointing", "soon")], "endpointing is a whole number"),
        ([("sample_rate", "9" * 400), ("encoding", "linear16")], "sample_rate is a whole number"),
        ([("model", "nova-2"), ("model", "nova-3")], "model was given 2 times"),
        ([("utterance_end_ms", "1000")], "needs interim_results"),
        ([("language", "")], "language is empty"),
    ],
)
def test_a_wrong_query_is_refused(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LiveOptions.from_query(pairs)


def test_a_parameter_that_is_no_option_is_kept_with_all_its_values() -> None:
    assert LiveOptions.from_query([("new", "a"), ("new", "b")]).extra == {"new": ["a", "b"]}


# In a notebook


def test_a_table_shows_what_differs_from_the_defaults() -> None:
    options = LiveOptions(language="de", smart_format=True, keyterm=["dgnb", "<b>Praat</b>"], extra={"<i>": 1})
    markup = options._repr_html_()
    for name, value in [("language", "&#x27;de&#x27;"), ("smart_format", "True"), ("keyterm", "[&#x27;dgnb&#x27;, ")]:
        assert re.search(rf">{name}</span><span><b>{re.escape(value)}", markup)
    assert "Terms to listen for (nova-3); case is kept." in markup
    assert "endpointing" not in markup
    assert "<b>Praat" not in markup
    assert "<i>" not in markup
    assert repr(options).startswith("LiveOptions(language='de', smart_format=True")


def test_without_changes_it_says_so() -> None:
    assert "LiveOptions: all defaults" in LiveOptions()._repr_html_()


# Flux and recordings


def test_flux_has_options_of_its_own() -> None:
    options = FluxOptions(eot_threshold="0.8", eager_eot_threshold=0.5, keyterm="Praat")
    assert options.query() == [
        ("model", "flux-general-en"),
        ("eot_threshold", "0.8"),
        ("eager_eot_threshold", "0.5"),
        ("keyterm", "Praat"),
    ]
    assert FluxOptions.from_query(options.query()) == options
    assert options.for_audio("linear16", 16000, 1).query()[-2:] == [("encoding", "linear16"), ("sample_rate", "16000")]


def test_a_flux_model_by_name_gives_options_for_flux() -> None:
    wanted = FluxOptions(model="flux-general-multi", language_hint=["de", "pt-BR"])
    assert as_options(None, {"model": "flux-general-multi", "language_hint": ["de", "pt-BR"]}) == wanted
    assert as_options({"model": "flux-general-multi", "language_hint": ["de", "pt-BR"]}, {}) == wanted
    assert isinstance(as_options(None, {"model": "nova-3"}), LiveOptions)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": "flux"}, "flux-general-en"),
        ({"model": "nova-3"}, "take LiveOptions"),
        ({"eot_threshold": 0.49}, "at least 0.5"),
        ({"eot_threshold": 1.01}, "at most 1.0"),
        ({"eot_threshold": "high"}, "eot_threshold is a number"),
        ({"eot_threshold": float("nan")}, "eot_threshold is a number"),
        ({"eager_eot_threshold": 0.75}, "at most eot_threshold (0.7)"),
        ({"eager_eot_threshold": 0.29}, "at least 0.3"),
        ({"eot_timeout_ms": 499}, "at least 500"),
        ({"keyterm": "x" * 101}, "up to 100 characters"),
        ({"keyterm": [" "]}, "blank term"),
        ({"language_hint": "de"}, "flux-general-multi"),
        ({"model": "flux-general-multi", "language_hint": "fi"}, "language_hint is one of en, es"),
        ({"redact": "pci"}, "is not allowed"),
        ({"encoding": "linear16", "sample_rate": 22050}, "is not allowed"),
        ({"interim_results": True}, "It is one of LiveOptions"),
        ({"smart_format": True}, "It is one of LiveOptions"),
        ({"eot_treshold": 0.7}, "Did you mean 'eot_threshold'"),
    ],
)
def test_what_flux_would_refuse_is_refused_before_any_io(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        FluxOptions(**wrong)


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (LiveOptions, {"eot_threshold": 0.7}, "It is one of FluxOptions"),
        (LiveOptions, {"utterances": True}, "It is one of PrerecordedOptions"),
        (LiveOptions, {"model": "flux-general-en"}, "dgnb.FluxOptions"),
        (PrerecordedOptions, {"interim_results": True}, "It is one of LiveOptions"),
        (PrerecordedOptions, {"model": "flux-general-en"}, "live streams only"),
        (PrerecordedOptions, {"utt_split": -1}, "at least 0"),
        (PrerecordedOptions, {"topics": True, "language": "de"}, "English alone"),
        (PrerecordedOptions, {"summarize": "v1"}, "is not allowed"),
        (PrerecordedOptions, {"detect_language": ["english"]}, "not a language tag"),
        (PrerecordedOptions, {"diarize": True, "diarize_model": "v2"}, "use diarize_model"),
        (PrerecordedOptions, {"custom_topic": ["money"]}, "needs topics=True"),
    ],
)
def test_options_of_another_service_are_refused_with_its_name(
    kind: type[Options], wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        kind(**wrong)


def test_recordings_take_true_where_the_wire_does() -> None:
    options = PrerecordedOptions(summarize=True, detect_language=True, redact=["pii", "name"], utt_split=1)
    assert options.query() == [
        ("model", "nova-3"),
        ("redact", "pii"),
        ("redact", "name"),
        ("detect_language", "true"),
        ("utt_split", "1.0"),
        ("summarize", "v2"),
    ]
    assert PrerecordedOptions.from_query(options.query()) == options
    assert PrerecordedOptions(model="whisper-large").model == "whisper-large"
    with pytest.raises(ConfigurationError, match="PrerecordedOptions, or a dict"):
        as_recorded(LiveOptions(), {})
