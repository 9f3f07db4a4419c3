"""Make the sample recording of dgnb: two voices, with the exact text and the true times of every word.

    python tools/make_sample.py

The speech comes from flite, a small speech synthesiser in Debian (`apt-get install libflite1`), with two of its voices:
`rms`, a man, and `slt`, a woman. flite computes the length of each phone before it makes the sound. The word times are
therefore exact, and not an estimate of a recogniser.

Licence: flite and its voices (made from the CMU ARCTIC recordings) belong to Carnegie Mellon University. The licence is
like MIT's: use, copy, modify, distribute and sell without restriction, with the notice kept in the code. It sets no
condition on the speech that they make. The text below was written for this project and has the project's licence.

The same machine, flite and PyAV make the same files again: `dgnb/samples/dialogue.ogg` (Ogg Opus, 16 kHz speech) and
`dgnb/samples/dialogue.json` (the text, and the words with their times and speakers).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

SAMPLES = Path(__file__).resolve().parent.parent / "dgnb" / "samples"
RATE = 16_000
BIT_RATE = 40_000
SPEECH_DBFS = -18.4  # RMS during speech; about -20 LUFS over the file
PEAK_DBFS = -3.0
ROOM_DBFS = -72.0  # noise of a quiet room; digital silence would sound like a fault
LEAD, TAIL = 0.6, 0.8

MAN, WOMAN = "rms", "slt"
VOICES = (MAN, WOMAN)  # speaker 0, speaker 1
STRETCH = {MAN: 0.9, WOMAN: 1.0}  # rms is a slow speaker

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One utterance of one voice, and the silence before it in seconds."""

    voice: str
    text: str
    pause: float


DIALOGUE = (
    Line(MAN, "Good morning, and welcome to the show.", 0.0),
    Line(MAN, "Today we are going to talk about live speech, and how to see every word as it is spoken.", 0.45),
    Line(WOMAN, "Thank you. I work with field recordings, so I spend my day inside a notebook.", 0.75),
    Line(WOMAN, "The words appear before people have finished talking.", 0.5),
    Line(WOMAN, "Each word has a start time and an end time, and they all go into one table.", 0.45),
    Line(MAN, "That sounds useful.", 0.85),
    Line(MAN, "Can you also listen to a radio station?", 0.35),
    Line(WOMAN, "Yes, I open the address of the station, and the words begin to arrive a moment later.", 0.6),
    Line(WOMAN, "When I have enough, I press stop.", 0.5),
    Line(MAN, "What happens if the connection is lost?", 0.8),
    Line(WOMAN, "It waits a second, it connects again, and nothing is missing.", 0.7),
    Line(MAN, "Great.", 0.9),
    Line(MAN, "Thank you for coming, and thank you all for listening.", 0.3),
)


class Wave(ctypes.Structure):
    """flite's `cst_wave`."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Voice(ctypes.Structure):
    """The first fields of flite's `cst_voice`."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class Flite:
    """The functions of flite's C library that the sample needs."""

    def __init__(self) -> None:
        self.lib = load("flite")
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_init", ctypes.c_int, []),
            ("flite_synth_text", pointer, [text, ctypes.POINTER(Voice)]),
            ("flite_feat_set_float", None, [pointer, text, ctypes.c_float]),
            ("utt_wave", ctypes.POINTER(Wave), [pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("delete_utterance", None, [pointer]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("ffeature_string", text, [pointer, text]),
            ("ffeature_float", ctypes.c_float, [pointer, text]),
        ):
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments
        self.lib.flite_init()
        self.voices = {name: self._voice(name) for name in VOICES}

    def _voice(self, name: str) -> Any:
        register = getattr(load(f"flite_cmu_us_{name}"), f"register_cmu_us_{name}")
        register.restype, register.argtypes = ctypes.POINTER(Voice), [ctypes.c_char_p]
        return register(None)

    def speak(self, line: Line) -> tuple[Samples, list[tuple[float, float]]]:
        """The sound of a line, cut to the speech, and the start and end of each word in seconds."""
        lib, voice = self.lib, self.voices[line.voice]
        lib.flite_feat_set_float(voice.contents.features, b"duration_stretch", STRETCH[line.voice])
        utterance = lib.flite_synth_text(line.text.encode("ascii"), voice)
        wave = lib.utt_wave(utterance).contents
        if (wave.sample_rate, wave.num_channels) != (RATE, 1):
            sys.exit(f"flite's voice {line.voice} speaks at {wave.sample_rate} Hz, not at {RATE}.")
        sound = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float64) / 32768
        times = []
        token = lib.relation_head(lib.utt_relation(utterance, b"Token"))
        while token:
            # A token is the text between two spaces; "it's" is two words for flite. A phone starts where the phone
            # before it ends. The first phone of a sentence is silence and belongs to no word.
            start = lib.ffeature_float(token, b"daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end")
            end = lib.ffeature_float(token, b"daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end")
            times.append((start, end))
            token = lib.item_next(token)
        lib.delete_utterance(utterance)
        if len(times) != len(line.text.split()):
            sys.exit(f"flite reads {len(times)} words in {line.text!r}, a reader {len(line.text.split())}.")
        return cut(sound, times)


def load(name: str) -> ctypes.CDLL:
    found = ctypes.util.find_library(name)
    if found is None:
        sys.exit(f"The library {name} is not installed. On Debian and Ubuntu: apt-get install libflite1")
    return ctypes.CDLL(found, mode=ctypes.RTLD_GLOBAL)


def cut(sound: Samples, times: list[tuple[float, float]]) -> tuple[Samples, list[tuple[float, float]]]:
    """Keep the sound from the first word's start to the last word's end, with a short fade around it."""
    fade = int(0.02 * RATE)
    first = round(times[0][0] * RATE)
    last = round(times[-1][1] * RATE)
    kept = sound[first - fade : last + fade].copy()
    ramp = np.sin(np.linspace(0, np.pi / 2, fade)) ** 2
    kept[:fade] *= ramp
    kept[-fade:] *= ramp[::-1]
    shift = (first - fade) / RATE
    return kept, [(start - shift, end - shift) for start, end in times]


def amplitude(dbfs: float) -> float:
    return float(10 ** (dbfs / 20))


def level(sound: Samples) -> Samples:
    """Set a line to the sample's loudness. Peaks above the ceiling are rounded, not clipped."""
    frames = sound[: len(sound) // 400 * 400].reshape(-1, 400)
    power = (frames**2).mean(axis=1)
    spoken = power[power > power.max() * 1e-3].mean()
    louder = sound * amplitude(SPEECH_DBFS) / np.sqrt(spoken)
    ceiling = amplitude(PEAK_DBFS - 1.0)  # the codec adds a little
    knee = 0.6 * ceiling
    over = np.abs(louder) > knee
    room = ceiling - knee
    louder[over] = np.sign(louder[over]) * (knee + room * np.tanh((np.abs(louder[over]) - knee) / room))
    return np.asarray(louder, dtype=np.float64)


def perform() -> tuple[Samples, list[dict[str, Any]]]:
    """The whole dialogue and its words."""
    flite = Flite()
    sound, words = np.zeros(round(LEAD * RATE)), []
    for line in DIALOGUE:
        spoken, times = flite.speak(line)
        sound = np.concatenate([sound, np.zeros(round(line.pause * RATE))])
        begin = len(sound) / RATE
        for token, (start, end) in zip(line.text.split(), times, strict=True):
            words.append(
                {
                    "word": token.strip(".,?!").lower(),
                    "punctuated_word": token,
                    "start": round(begin + start, 3),
                    "end": round(begin + end, 3),
                    "speaker": VOICES.index(line.voice),
                }
            )
        sound = np.concatenate([sound, level(spoken)])
    sound = np.concatenate([sound, np.zeros(round(TAIL * RATE))])
    room = np.random.default_rng(2).standard_normal(len(sound)) * amplitude(ROOM_DBFS)
    return sound + room, words


def encode(sound: Samples, path: Path) -> None:
    """Write Ogg Opus, which takes 16 kHz as it is and stores the encoder's delay, so that decoders cut it off."""
    pcm = np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)
    with av.open(str(path), "w", format="ogg", options={"serial_offset": "1", "fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libopus", rate=RATE, options={"application": "voip", "vbr": "on", "flags": "+bitexact"}
        )
        stream.bit_rate = BIT_RATE
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def decode(path: Path) -> Samples:
    """The file as PyAV decodes it, at the sample's rate."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in [*container.decode(audio=0), None]:
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float64) / 32768


def delay(made: Samples, heard: Samples) -> float:
    """The delay of the decoded sound in seconds, by cross-correlation."""
    size = 1 << (len(made) + len(heard)).bit_length()
    product = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(made, size)), size)
    lag = int(product.argmax())
    return (lag if lag < size // 2 else lag - size) / RATE


def main() -> None:
    sound, words = perform()
    ogg, notes = SAMPLES / "dialogue.ogg", SAMPLES / "dialogue.json"
    SAMPLES.mkdir(parents=True, exist_ok=True)
    encode(sound, ogg)
    heard = decode(ogg)
    late = delay(sound, heard)
    if abs(late) > 0.002:
        sys.exit(f"The file plays {late * 1000:+.1f} ms late against the words' times; they would be wrong.")
    text = " ".join(word["punctuated_word"] for word in words)
    lines = ",\n".join("    " + json.dumps(word) for word in words)
    notes.write_text(f'{{\n  "text": {json.dumps(text)},\n  "words": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    peak = 20 * np.log10(np.abs(heard).max())
    print(f"{ogg.name}: {len(heard) / RATE:.2f} s, {ogg.stat().st_size / 1000:.0f} kB, peak {peak:.1f} dBFS")
    print(f"{notes.name}: {len(words)} words; the codec's delay is {late * 1000:+.2f} ms")


if __name__ == "__main__":
    main()
