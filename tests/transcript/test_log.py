"""Every message is kept, in little memory, and can be read again from any position."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

from dgnb import Transcript
from dgnb.messages import ServerMessage, parse
from dgnb.transcript.log import MessageLog
from dgnb.transcript.records import Record

UNUSUAL = [
    {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 1.5},
    {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.5},
    {"type": "Metadata", "duration": 7.0, "request_id": "r"},
    {"type": "Later", "text": "line\nbreak\r\u2028 and \u0000"},
    {"type": "Results", "start": "wrong"},
]


def hearing(rng: random.Random, utterance: int, words: int, *, final: bool) -> ServerMessage:
    """What a server sends: an interim repeats the one before it, with other times and confidences."""
    begin = utterance * 5.0
    said = [
        {
            "word": f"word{utterance * 7 + i}",
            "punctuated_word": f"Word{utterance * 7 + i},",
            "start": round(begin + i * 0.25 + rng.random() / 100, 3),
            "end": round(begin + i * 0.25 + 0.2, 3),
            "confidence": rng.random(),
        }
        for i in range(words)
    ]
    text = " ".join(str(word["word"]) for word in said)
    message = {
        "type": "Results",
        "channel_index": [0, 1],
        "start": begin,
        "duration": 5.0 if final else words * 0.25,
        "is_final": final,
        "channel": {"alternatives": [{"transcript": text, "confidence": rng.random(), "words": said}]},
        "metadata": {"request_id": "r" * 36, "model_uuid": "m" * 36, "model_info": {"name": "nova", "arch": "nova-3"}},
    }
    return parse(json.dumps(message))


def talk(rng: random.Random, utterances: int) -> list[ServerMessage]:
    messages: list[ServerMessage] = []
    for number in range(utterances):
        messages += [hearing(rng, number, 1 + i, final=False) for i in range(19)]
        messages += [hearing(rng, number, 20, final=True), parse(json.dumps(rng.choice(UNUSUAL)))]
    return messages


def test_messages_are_read_from_any_position_as_they_came() -> None:
    rng = random.Random(1)
    log, records = MessageLog(), []
    for number, message in enumerate(talk(rng, 150)):
        record = Record(number, message, rng.choice([0.0, 2.5]), rng.choice([None, 1.0]), number % 3)
        records.append(record)
        log.append(record)
    lines = b"".join(log.lines(0, len(log))).splitlines(keepends=True)
    assert len(lines) == len(log) == len(records) == 150 * 21
    for first in [0, 1, len(log) - 1, len(log), len(log) + 1, *rng.sample(range(len(log)), 60)]:
        last = rng.randint(first, len(log) + 1)
        assert list(log.records(first)) == records[first:]
        assert b"".join(log.lines(first, last)) == b"".join(lines[first:last])


def test_messages_that_come_while_others_are_read_change_nothing_in_what_is_read() -> None:
    messages = talk(random.Random(2), 120)
    log = MessageLog()
    for message in messages[:2000]:
        log.append(Record(0, message))
    reading = log.records(1000)
    read = [next(reading).message]
    for message in messages[2000:]:
        log.append(Record(0, message))
    assert read + [record.message for record in reading] == messages[1000:2000]


def test_a_long_session_takes_little_memory_and_its_file_and_tables_have_every_message(tmp_path: Path) -> None:
    rng = random.Random(3)
    transcript = Transcript()
    transcript.feed(hearing(rng, 0, 1, final=False))
    tracemalloc.start()
    try:
        interims = 8000
        for number in range(interims):
            transcript.feed(hearing(rng, number // 20, 1 + number % 20, final=False), at=number, audio_cursor=1.0)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        transcript.save(tmp_path / "a.jsonl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The newest 512 messages stay as they are: some 5 kB each.
    assert grown < interims * 350 + 512 * 8000
    assert peak - grown < 6 << 20
    assert (tmp_path / "a.jsonl").stat().st_size > 3 * grown
    assert len(transcript.results) == interims + 1
    assert Transcript.load(tmp_path / "a.jsonl").messages == transcript.messages
