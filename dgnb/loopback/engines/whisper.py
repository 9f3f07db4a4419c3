"""Whisper by faster-whisper: CTranslate2, int8 on the CPU.

Whisper was made for windows of 30 s. Most utterances last a few seconds, and encoding the silence behind them takes
most of the time; so the window is shortened to the speech and a margin. The shortest window is ten seconds: below
that, Whisper loops and invents (measured on read speech: the same word error rate as with 30 s, at a quarter of the
cost).
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dgnb.exceptions import ConfigurationError
from dgnb.loopback.engines import DEFAULT_MODEL, SAMPLE_RATE, EngineInfo, EngineStream, HeardWord
from dgnb.loopback.engines import weights as _weights
from dgnb.loopback.engines.utterances import Decoded, Samples, SileroVoice, UtteranceStream

_WINDOW = 30.0
_SHORTEST_WINDOW = 10.0
_MARGIN = 2.0  # Seconds of silence behind the words; without them, the model invents more

_LATE = 0.10
"""Seconds by which word times trail the voice, at starts and ends: the median against a forced alignment of read
speech."""

_MOST_TOKENS = 448

_REPETITIVE = 2.4  # A text that compresses by more than this repeats itself
_REFRAIN = re.compile(r"\b(\S+(?: \S+){1,7})(?: \1\b){3}")
"""The same few words four times: a short loop, which compresses less."""
_UNLIKELY = -1.0  # Under this mean log probability of a token, a text is a guess
_NO_SPEECH = 0.6

_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue"}  # Languages written without spaces between words


# Ways to decode a window: beams, whether it is the whole window, and how many tokens may not come twice.
_QUICK = ((1, False, 0),)
# Not the usual ladder of temperatures, which draws at random: here, the same audio gives the same words.
_CAREFUL = ((5, False, 0), (5, True, 0), (5, True, 3))


class WhisperEngine:
    """A Whisper model, loaded once and shared by all streams of a process; `weights.find` says what `model` may be."""

    def __init__(self, model: str = DEFAULT_MODEL, *, clock: Callable[[], float] = time.monotonic) -> None:
        folder = _weights.find(model)
        from faster_whisper import WhisperModel

        # Workers share the weights. With a single one, streams would wait for each other. More threads for one decoding
        # would shorten the wait for a final, and cost more CPU seconds in all.
        workers = min(4, os.cpu_count() or 1)
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=workers
            )
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"{folder} could not be loaded as a Whisper model: {error}. Give the folder of a model converted "
                "for CTranslate2, or a name such as 'tiny.en'."
            ) from error
        self._clock = clock
        self.info = EngineInfo(
            name=f"whisper-{os.path.basename(os.path.abspath(os.path.expanduser(model)))}",
            version=f"faster-whisper-{importlib.metadata.version('faster-whisper')}",
            arch="whisper",
            uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, _weights.sha256(folder / "model.bin"))),
        )

    @functools.cached_property
    def languages(self) -> tuple[str, ...]:
        """See `Engine`."""
        return tuple(self._model.supported_languages)

    def open(self, *, language: str = "en", pause: float = 0.7, interims: bool = True) -> EngineStream:
        """Begin a stream at 0 s, as `Engine.open`. A pause is at least half a second.

        Of the language, the first part counts. With `multi`, a multilingual model detects it for each utterance; a
        model for English ignores it.
        """
        from faster_whisper.vad import get_vad_model

        code: str | None = "en"
        if self._model.model.is_multilingual:
            code = None if language == "multi" else language.partition("-")[0].lower()
        decode, voice = _Decoder(self._model, code).decode, SileroVoice(get_vad_model().session)
        return UtteranceStream(decode, voice, pause=pause, interims=interims, clock=self._clock)


class _Decoder:
    """Decodes stretches of one stream."""

    def __init__(self, model: Any, language: str | None) -> None:
        self._model = model
        self._language = language

    def decode(self, samples: Samples, final: bool) -> Decoded:
        from faster_whisper.tokenizer import Tokenizer

        seconds = len(samples) / SAMPLE_RATE
        features = self._model.feature_extractor(samples)
        encode = functools.cache(lambda whole: self._encode(features, seconds, whole))
        language, found = self._language, None
        best: tuple[float, Any, Any] | None = None
        for beams, whole, no_repeat in _CAREFUL if final else _QUICK:
            encoded = encode(whole)
            if language is None:
                language = found = self._model.model.detect_language(encoded)[0][0][0].strip("<|>")
            tokenizer = Tokenizer(
                self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
            )
            result, likelihood, loops = self._generate(encoded, seconds, tokenizer, beams, no_repeat)
            if result.no_speech_prob > _NO_SPEECH and likelihood < _UNLIKELY:
                return Decoded((), found)
            if not loops and (best is None or likelihood > best[0]):
                best = likelihood, result, encoded
            if not loops and likelihood >= _UNLIKELY:
                break
        if best is None:
            return Decoded((), found)
        _, result, encoded = best
        return Decoded(self._words(result.sequences_ids[0], encoded, seconds, tokenizer), found)

    def _encode(self, features: Any, seconds: float, whole: bool) -> Any:
        window = _WINDOW if whole else min(_WINDOW, max(_SHORTEST_WINDOW, math.ceil(seconds + _MARGIN)))
        frames = round(window * self._model.frames_per_second)
        padded = np.zeros((features.shape[0], frames), np.float32)
        used = min(frames, features.shape[1])
        padded[:, :used] = features[:, :used]
        return self._model.encode(padded)

    def _generate(
        self, encoded: Any, seconds: float, tokenizer: Any, beams: int, no_repeat: int
    ) -> tuple[Any, float, bool]:
        """Return CTranslate2's result, its mean log probability, and whether the text repeats itself."""
        prompt = list(tokenizer.sot_sequence)
        result = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=beams,
            no_repeat_ngram_size=no_repeat,
            # Eight tokens a second are more than the fastest speaker needs: they end a loop early.
            max_length=min(_MOST_TOKENS, len(prompt) + 24 + round(8 * seconds)),
            max_initial_timestamp_index=50,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        likelihood = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return result, likelihood, _loops(tokenizer.decode(tokens))

    def _words(self, tokens: Sequence[int], encoded: Any, seconds: float, tokenizer: Any) -> tuple[HeardWord, ...]:
        text = [token for token in tokens if token < tokenizer.eot]
        if not text:
            return ()
        frames = round(seconds * self._model.frames_per_second)
        words: list[list[dict[str, Any]]] = []
        for part in self._model.find_alignment(tokenizer, [text], encoded, frames)[0]:
            # A hyphen and the word behind it are parts of their own; only a space separates words.
            spaced = part["word"].startswith(" ") or (
                tokenizer.language_code in _UNSPACED and part["word"][:1].isalnum()
            )
            if spaced or not words:
                words.append([])
            words[-1].append(part)
        return tuple(
            HeardWord(
                text=said,
                start=max(0.0, float(parts[0]["start"]) - _LATE),
                end=max(0.0, float(parts[-1]["end"]) - _LATE),
                confidence=min(1.0, float(np.mean([part["probability"] for part in parts if part["word"].strip()]))),
            )
            for parts in words
            if (said := "".join(part["word"] for part in parts).strip())
        )


def _loops(text: str) -> bool:
    """Whether a text repeats itself, as the model does when it is lost."""
    raw = text.strip().encode()
    words = " ".join(re.findall(r"[\w']+", text.lower()))
    return len(raw) / len(zlib.compress(raw)) > _REPETITIVE or bool(_REFRAIN.search(words))
