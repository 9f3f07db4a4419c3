"""A journal holds what the transcript holds, whoever kills, interrupts or fills the disk, and never costs a file."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.messages import Metadata, UtteranceEnd, parse
from dgnb.transcript import Transcript
from dgnb.transcript.journal import Journal
from tests.test_files import interrupt, room_for
from tests.transcript.test_transcript import everything, fed, result, said

TABLES = ("words", "utterances", "results", "events", "gaps")


def assert_same(a: Transcript, b: Transcript) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name))
    assert a.messages == b.messages
    assert (a.text, a.interim, a.unknown, a.latency) == (b.text, b.interim, b.unknown, b.latency)


def written(path: Path, transcript: Transcript) -> Transcript:
    journal = Journal(path, transcript)
    journal.write(journal.take(), last=True)
    return Transcript.load(path)


# What it holds


def test_a_journal_is_loaded_as_the_transcript_was(tmp_path: Path) -> None:
    transcript = everything()
    assert_same(written(tmp_path / "a.jsonl", transcript), transcript)
    assert_same(written(tmp_path / "b.jsonl", Transcript()), Transcript())


def test_a_journal_has_the_lines_of_a_saved_file(tmp_path: Path) -> None:
    transcript = everything()
    transcript.save(tmp_path / "saved.jsonl")
    written(tmp_path / "a.jsonl", transcript)
    first, *lines = (tmp_path / "a.jsonl").read_bytes().splitlines()
    assert json.loads(first) == {"dgnb": 1, "journal": True}
    assert lines == (tmp_path / "saved.jsonl").read_bytes().splitlines()[1:]


messages = st.one_of(
    st.builds(
        lambda start, duration, count, final, channel, ends: result(
            start,
            duration,
            said(*(f"w{i}" for i in range(count)), start=start, speaker=channel),
            final=final,
            channel=channel,
            speech_final=ends,
        ),
        st.integers(0, 6),
        st.floats(0, 4),
        st.integers(0, 3),
        st.booleans(),
        st.integers(0, 1),
        st.booleans(),
    ),
    st.just(UtteranceEnd((0, 1), 1.5)),
    st.builds(lambda seconds: Metadata(duration=seconds, request_id="r"), st.floats(0, 100)),
    st.builds(lambda kind: parse(json.dumps({"type": kind, "n": 1e300})), st.text(max_size=5)),
)
circumstances = st.fixed_dictionaries(
    {
        "at": st.integers(0, 2**60),
        "offset": st.floats(0, 1e4),
        "audio_cursor": st.none() | st.floats(0, 1e4),
        "connection": st.integers(0, 3),
    }
)
steps = st.one_of(
    st.tuples(st.just("feed"), messages, circumstances),
    st.tuples(st.just("note"), st.text(max_size=9), st.integers(0, 2**60)),
    st.tuples(st.just("gap"), st.floats(0, 50), st.floats(0, 50)),
    st.just(("flush",)),
)


@given(st.lists(steps, max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_journal_and_a_saved_file_give_the_same_tables_whenever_it_was_flushed(
    tmp_path: Path, script: list[tuple[Any, ...]]
) -> None:
    for left in tmp_path.iterdir():
        left.unlink()
    transcript = Transcript()
    journal = Journal(tmp_path / "a.jsonl", transcript)
    for what, *values in script:
        if what == "feed":
            transcript.feed(values[0], **values[1])
        elif what == "note":
            transcript.note("warning", values[0], at=values[1])
        elif what == "gap":
            transcript.add_gap(values[0], values[0] + values[1], "because")
        else:
            journal.write(journal.take())
    journal.write(journal.take(), last=True)
    transcript.save(tmp_path / "saved.jsonl")
    loaded = Transcript.load(tmp_path / "a.jsonl")
    assert_same(loaded, transcript)
    assert_same(loaded, Transcript.load(tmp_path / "saved.jsonl"))


def test_a_flush_appends_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    transcript = everything()
    journal = Journal(tmp_path / "a.jsonl", transcript)
    journal.write(journal.take())
    before = (tmp_path / "a.jsonl").read_bytes()
    journal.write(journal.take())
    assert (tmp_path / "a.jsonl").read_bytes() == before
    transcript.feed(Metadata(request_id="new"), at=9)
    transcript.note("closed", "new", at=9)
    journal.write(journal.take())
    after = (tmp_path / "a.jsonl").read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].splitlines() == [
        b'{"event":{"at":9,"type":"closed","text":"new","start":1.7}}',
        b'{"at":9,"message":{"type":"Metadata","request_id":"new"},"offset":0.0,"audio_cursor":null,"connection":0}',
    ]
    journal.write(journal.take(), last=True)


def test_the_cost_of_a_flush_is_that_of_what_is_new_and_has_a_limit(tmp_path: Path) -> None:
    transcript = fed(*[Metadata()] * 10_000)
    journal, sizes = Journal(tmp_path / "a.jsonl", transcript), []
    for _ in range(5):
        batch = journal.take()
        sizes.append(batch[0].count(b"\n"))
        journal.write(batch)
        transcript.feed(Metadata())
    journal.write(journal.take(), last=True)
    assert sizes == [4096, 4096, 10_002 - 2 * 4096, 1, 1]
    assert Transcript.load(tmp_path / "a.jsonl").count == 10_005


def test_closing_appends_the_rest_once(tmp_path: Path) -> None:
    transcript = Transcript()
    journal = Journal(tmp_path / "a.jsonl", transcript)
    transcript.feed(Metadata())
    journal.write(journal.take(), last=True)
    transcript.feed(Metadata())
    journal.write(journal.take(), last=True)
    journal.write(journal.take())
    assert Transcript.load(tmp_path / "a.jsonl").count == 1


# The file


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_nobody_else_can_read_a_journal_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        journal = Journal(tmp_path / "a.jsonl", everything())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == 0o600
    journal.write(journal.take(), last=True)


def test_what_is_there_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "my.talk.jsonl"
    (tmp_path / "my.talk-2.jsonl").symlink_to("nowhere")
    moved = []
    for number in range(4):
        transcript = fed(Metadata(request_id=f"{number}"))
        journal = Journal(str(path), transcript)
        journal.write(journal.take(), last=True)
        moved.append(journal.moved and journal.moved.name)
    assert moved == [None, "my.talk-1.jsonl", "my.talk-3.jsonl", "my.talk-4.jsonl"]
    for name, request in (("my.talk-1", "0"), ("my.talk-3", "1"), ("my.talk-4", "2"), ("my.talk", "3")):
        assert Transcript.load(tmp_path / f"{name}.jsonl").events["request_id"].tolist() == [request]


def test_a_journal_that_is_moved_aside_goes_on(tmp_path: Path) -> None:
    first, second = Transcript(), Transcript()
    one = Journal(tmp_path / "a.jsonl", first)
    two = Journal(tmp_path / "a.jsonl", second)
    first.feed(Metadata(request_id="first"))
    second.feed(Metadata(request_id="second"))
    one.write(one.take(), last=True)
    two.write(two.take(), last=True)
    assert Transcript.load(tmp_path / "a-1.jsonl").messages == first.messages
    assert Transcript.load(tmp_path / "a.jsonl").messages == second.messages


def test_a_journal_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jsonl").symlink_to("folder/b.jsonl")
    for _ in range(2):
        written(tmp_path / "a.jsonl", everything())
    assert (tmp_path / "a.jsonl").is_symlink()
    assert sorted(os.listdir(tmp_path / "folder")) == ["b-1.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("no/a.jsonl", "Is the folder there? Make it first."),
        ("file/a.jsonl", "Is the folder there? Make it first."),
        (".", "it is a folder or a device. Choose another name."),
        ("/dev/full", "it is a folder or a device. Choose another name."),
        ("/sys/a.jsonl", "Choose a folder and a file that you may write to."),
        ("a\0b", "Give a name without such characters."),
        ("x" * 300, "Choose another name."),
        (None, "that is no path."),
        (7, "that is no path."),
    ],
)
def test_a_journal_that_cannot_be_made_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        Journal(path, Transcript())
    assert what in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_is_full_from_the_start_is_a_clear_error_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("before", encoding="utf-8")
    for name in ("a.jsonl", "b.jsonl"):
        with room_for(5), pytest.raises(ConfigurationError, match=r"l can't be made: .* Make room there"):
            Journal(tmp_path / name, Transcript())
    assert os.listdir(tmp_path) == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == "before"


# What goes wrong later


def test_a_full_disk_is_an_error_and_what_the_journal_has_is_loaded_until_there_is_room_for_the_rest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    transcript = fed(*(result(i, 1, said(f"w{i}", start=i)) for i in range(3)))
    journal = Journal(path, transcript)
    journal.write(journal.take())
    for i in range(3, 9):
        transcript.feed(result(i, 1, said(f"w{i}", start=i)))
    # In the middle of the second of the lines that are to come.
    room = path.stat().st_size + transcript.saved((0, 0, 0, 3))[0].index(b"\n") + 50
    with room_for(room):
        for _ in range(2):
            with pytest.raises(DgnbError, match=r"can't be written: .* Make room there.* can be loaded.* save\(\)"):
                journal.write(journal.take())
        assert path.stat().st_size == room
        assert not path.read_bytes().endswith(b"\n")
        assert Transcript.load(path).text == "w0 w1 w2 w3"
    assert journal.write(journal.take()) == ""
    journal.write(journal.take(), last=True)
    assert_same(Transcript.load(path), transcript)


def test_closing_on_a_full_disk_is_an_error_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl", everything())
    with room_for(40):
        with pytest.raises(DgnbError, match="Make room there"):
            journal.write(journal.take(), last=True)
        journal.write(journal.take(), last=True)
    assert Transcript.load(tmp_path / "a.jsonl").count == 0


def test_a_disk_that_fails_at_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path / "a.jsonl", everything())
    with pytest.raises(DgnbError, match="Input/output error"):
        journal.write(journal.take(), last=True)
    journal.write(journal.take(), last=True)
    assert_same(Transcript.load(tmp_path / "a.jsonl"), everything())


def remove(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)


def fill_with_something_else(path: Path) -> None:
    path.write_bytes(b"x" * 2 * path.stat().st_size)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"something else\n")


def remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent.parent)


def rename_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


@pytest.mark.parametrize(
    "change", [remove, rename, remove_the_folder, rename_the_folder, empty, cut, fill_with_something_else]
)
def test_a_journal_that_others_change_is_written_anew_as_a_whole(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "one" / "two" / "a.jsonl"
    path.parent.mkdir(parents=True)
    transcript = everything()
    journal = Journal(path, transcript)
    journal.write(journal.take())
    for _ in range(2):
        change(path)
        transcript.feed(Metadata())
        assert "was removed or changed by others: it is written anew, whole, as a.jsonl" in journal.write(
            journal.take()
        )
        assert journal.write(journal.take()) == ""
        assert_same(Transcript.load(path), transcript)
        shutil.rmtree(path.parent.with_name("renamed"), ignore_errors=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.write(journal.take(), last=True)


def test_what_others_append_to_a_journal_is_written_over(tmp_path: Path) -> None:
    path, transcript = tmp_path / "a.jsonl", everything()
    journal = Journal(path, transcript)
    journal.write(journal.take())
    append(path)
    transcript.feed(Metadata())
    journal.write(journal.take(), last=True)
    assert_same(Transcript.load(path), transcript)


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_that_others_put_in_the_place_of_a_journal_stays(tmp_path: Path, kept: bool) -> None:
    path, transcript = tmp_path / "a.jsonl", everything()
    journal = Journal(path, transcript)
    journal.write(journal.take())
    path.rename(tmp_path / "moved.jsonl")
    if not kept:
        (tmp_path / "moved.jsonl").unlink()
    path.write_text("another file", encoding="utf-8")
    transcript.feed(Metadata())
    told = journal.write(journal.take())
    assert ("it goes on where it was moved to" if kept else "written anew, whole, as a-1.jsonl") in told
    journal.write(journal.take(), last=True)
    assert_same(Transcript.load(tmp_path / ("moved.jsonl" if kept else "a-1.jsonl")), transcript)
    assert path.read_text(encoding="utf-8") == "another file"


def test_a_journal_that_cannot_be_made_anew_is_an_error_until_it_can(tmp_path: Path) -> None:
    path, transcript = tmp_path / "folder" / "a.jsonl", everything()
    path.parent.mkdir()
    journal = Journal(path, transcript)
    journal.write(journal.take())
    shutil.rmtree(path.parent)
    path.parent.write_text("a file is in the way", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(DgnbError, match="can't be written"):
            journal.write(journal.take())
    path.parent.unlink()
    with room_for(3), pytest.raises(DgnbError, match="Make room there"):
        journal.write(journal.take())
    assert "written anew" in journal.write(journal.take())
    journal.write(journal.take(), last=True)
    assert_same(Transcript.load(path), transcript)


def test_an_interrupt_at_any_step_of_a_flush_costs_no_line_and_doubles_none(tmp_path: Path) -> None:
    def flush() -> None:
        journal.write(journal.take())

    codes = [method.__code__ for method in (flush, Journal._append, Transcript.saved)]
    step, interrupted = 0, True
    while interrupted:
        transcript = everything()
        journal = Journal(tmp_path / "a.jsonl", transcript)
        interrupted = interrupt(flush, step, *codes)
        transcript.note("warning", "after", at=9)
        journal.write(journal.take(), last=True)
        assert_same(Transcript.load(tmp_path / "a.jsonl"), transcript)
        (tmp_path / "a.jsonl").unlink()
        step += 1
    assert step > 50


# What a journal that breaks off gives


def test_a_journal_is_loaded_up_to_where_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    transcript = fed(*(result(i, 1, said(f"wörd{i}", start=i)) for i in range(3)))
    written(path, transcript)
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        lines = whole[:end].count(b"\n")
        if lines:
            assert Transcript.load(path).messages == transcript.messages[: lines - 1]
        elif end < whole.index(b"\n"):
            with pytest.raises(DgnbError):
                Transcript.load(path)
    path.write_bytes(whole + bytes(4096))  # as some file systems leave it after a power cut
    assert Transcript.load(path).messages == transcript.messages


def test_a_journal_that_is_broken_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    written(path, everything())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:20] + b"\n", *lines[4:]]))
    with pytest.raises(DgnbError, match="line 4: "):
        Transcript.load(path)


CHILD = """
import os, sys, time
from dgnb.transcript.journal import Journal
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript

path, pause = sys.argv[1], float(sys.argv[2])
transcript = Transcript()
journal = Journal(path, transcript)
number = 0
flushed = time.monotonic()
while True:
    now = time.monotonic()
    if now - flushed >= (1.0 if pause else 0.001):
        journal.write(journal.take())
        flushed = now
    final = number % 5 == 4
    words = (Word(f"w{number // 5}", float(number // 5), number // 5 + 0.9),)
    message = Results((0, 1), 1.0, float(number // 5), Channel((Alternative("", None, words),)), is_final=final)
    if final:
        os.write(1, f"{now!r}\\n".encode())
    transcript.feed(message)
    number += 1
    time.sleep(pause)
"""


def test_a_journal_of_a_killed_process_has_every_final_older_than_a_second_and_none_twice(tmp_path: Path) -> None:
    rng = random.Random(16)
    children = []
    for number in range(12):
        # One in three writes all the time, so that some are killed while they write.
        pause = 0.0 if number % 3 == 2 else 0.02
        with (tmp_path / f"{number}.txt").open("wb") as told:
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(tmp_path / f"{number}.jsonl"), str(pause)], stdout=told
            )
        children.append(child)
    try:
        while not all((tmp_path / f"{number}.txt").stat().st_size for number in range(12)):
            assert not any(child.poll() for child in children)
            time.sleep(0.05)
        began = time.monotonic()
        for moment, child in sorted((rng.uniform(1.0, 4.0), number) for number in range(12)):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            children[child].kill()
    finally:
        for child in children:
            child.kill()
            child.wait()
    asked = 0
    for number in range(12):
        times = [float(line) for line in (tmp_path / f"{number}.txt").read_text(encoding="utf-8").split("\n")[:-1]]
        transcript = Transcript.load(tmp_path / f"{number}.jsonl")
        finals = [words[0].word for r in transcript.messages if r.is_final and (words := r.words)]  # type: ignore[union-attr]
        old = sum(seconds <= times[-1] - 1.0 for seconds in times)
        assert finals == [f"w{i}" for i in range(len(finals))]
        assert old <= len(finals) <= len(times)
        assert transcript.words["word"].tolist() == finals
        asked += old
    assert asked > 12 * 5


def test_a_journal_that_is_closed_with_a_batch_reads_no_transcript(tmp_path: Path) -> None:
    transcript = Transcript()
    journal = Journal(tmp_path / "talk.jsonl", transcript)
    transcript.note("first", "in the batch")
    batch = journal.take()
    transcript.note("second", "after it")
    journal.write(batch, last=True)
    assert Transcript.load(journal.path).events["type"].tolist() == ["first"]
