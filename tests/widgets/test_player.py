"""The player without a browser: its page, its bundle, and what it answers."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

import dgnb
from dgnb.audio import Sound
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.loopback import LoopbackServer
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript
from dgnb.widgets import Player
from tests.support.tones import RATE, talk
from tests.support.waiting import until

EVIL = "</script><img/src=x/onerror=alert(1)>\u202e"


def opened(page: str) -> dict[str, Any]:
    """What the page draws."""
    data: dict[str, Any] = json.loads(page.split('id="dgnb-data">')[1].split("</script>")[0])
    return data


def framed(player: Player) -> str:
    """The page in the frame that is the value of a cell."""
    found = re.search(r'srcdoc="(.*?)"', player._repr_mimebundle_()["text/html"], re.DOTALL)
    assert found
    return html.unescape(found[1])


def words(data: dict[str, Any]) -> list[list[Any]]:
    return [word for *_, said in data["turns"] for word in said]


def test_a_cell_shows_a_page_with_its_sound_and_not_a_widget() -> None:
    transcript = talk(60, 20.0)
    transcript.speakers = {0: "Ada"}
    player = transcript.player(height="20em")
    bundle = player._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert [line.partition("well")[0] for line in bundle["text/plain"].splitlines()] == [
        *["0:00 Ada: ", "0:06 Ada: ", "0:12 Ada: ", "0:18 speaker 1: "]
    ]
    assert bundle["text/plain"].splitlines()[1] == (
        "0:06 Ada: well hello there the quick brown fox said don't jump over lazy dogs when music plays in town"
    )
    data = opened(framed(player))
    assert words(data)[19] == [19, 6.333, 6.6, " hello", 0.95]
    assert data["turns"][3][1] == 1
    assert data["sound"]["start"] == 0.0
    assert data["sound"]["mime"] == "audio/mp4"
    assert "height:20em" in bundle["text/html"]


def test_a_part_has_its_own_sound_and_keeps_the_positions_of_the_table(tmp_path: Path) -> None:
    transcript = talk(60, 20.0)
    transcript.player(5.0, 7.0).to_html(tmp_path / "part.html")
    data = opened((tmp_path / "part.html").read_text())
    inside = transcript.words.query("end > 5 and start < 7")
    assert [word[0] for word in words(data)] == list(inside.index)
    assert data["sound"]["start"] == 5.0
    assert 8_000 < len(data["sound"]["base64"]) < 16_000
    assert not data["frame"]


def test_the_page_of_an_hour_has_less_than_25_mb() -> None:
    player = talk(10_000, 3_600.0).player()
    assert 15_000_000 < len(player._repr_mimebundle_()["text/html"].encode()) < 25_000_000


@pytest.mark.parametrize(
    ("given", "place", "shown"),
    [
        ((100.0,), [100.0, None], (70.0, 160.0)),
        ((100, 101.5), [100, 101.5], (70.0, 131.5)),
        ("row", [100.0, 100.267], (70.0, 130.267)),
    ],
)
def test_play_opens_a_stretch_and_plays_it(given: Any, place: list[float], shown: tuple[float, float]) -> None:
    transcript = talk(600, 200.0)
    player = transcript.play(*((transcript.words.iloc[300],) if given == "row" else given))
    data = opened(framed(player))
    assert data["at"] == place
    assert words(data)[0][2] > shown[0] >= words(data)[0][1] - 0.4
    assert words(data)[-1][1] < shown[1] <= words(data)[-1][2] + 0.4


def test_text_and_names_from_outside_stay_text() -> None:
    transcript = Transcript()
    said = (Word(EVIL, 0.0, 0.5, speaker=0),)
    heard = Channel((Alternative(EVIL, 0.9, said),))
    transcript.feed(Results((0, 1), 1.0, 0.0, heard, is_final=True))
    transcript.audio = Sound((RATE, [0] * RATE))
    player = transcript.player()
    transcript.speakers = {0: EVIL}
    (word,) = words(opened(framed(player)))
    assert word[3:] == [" </script><img/src=x/onerror=alert(1)> ", None]
    assert framed(player).count("</script>") == 2
    assert "<img" not in framed(player)
    assert "<img" not in player._repr_mimebundle_()["text/html"]


def test_what_cannot_be_heard_says_what_to_do(tmp_path: Path) -> None:
    transcript = talk(60, 20.0)
    long = talk(10, 4700.0, utterance=10)
    with pytest.raises(ConfigurationError, match=r"A page with 1:18:20 of sound has more than 25 MB.*audio_url="):
        long.player()
    assert opened(framed(long.player(audio_url="talk.mp3")))["sound"] == {"url": "talk.mp3"}
    with pytest.raises(ConfigurationError, match="start is a time in seconds"):
        transcript.player("1:00")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="end is a time in seconds after start"):
        transcript.player(5, 2)
    with pytest.raises(ConfigurationError, match=r"ends before 20 s\. Is it the recording"):
        transcript.player(20)
    with pytest.raises(ConfigurationError, match="height is a CSS height"):
        transcript.player(height=300)  # type: ignore[arg-type]
    with pytest.raises(DgnbError, match="can't be written"):
        transcript.player().to_html(tmp_path / "missing" / "talk.html")
    transcript.audio = None
    with pytest.raises(ConfigurationError, match="This transcript has no sound"):
        transcript.player()
    with pytest.raises(ConfigurationError, match="This transcript has no sound"):
        transcript.play(2.0)


def test_a_transcript_without_words_says_so() -> None:
    transcript = Transcript()
    transcript.audio = Sound((RATE, [0] * RATE))
    assert transcript.player()._repr_mimebundle_()["text/plain"] == "There are no words here."
    assert list(transcript.player().selected.columns) == list(transcript.words.columns)


async def test_the_kernel_answers_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = talk(60, 20.0)
    player = transcript.player()
    sent: list[Any] = []
    monkeypatch.setattr(player, "send", lambda content, buffers=None: sent.append((content, buffers)))
    for message in [
        {"do": "hello", "have": 58},
        {"do": "hello", "have": "all"},
        {"do": "selected", "positions": [3, 4, "5", 60, -1]},
        {"do": "rename", "speaker": 0, "name": "Ada"},
        {"do": "rename", "speaker": 2, "name": "Grace"},
        {"do": "rename", "speaker": 0, "name": ""},
        {"do": "rename", "speaker": 0, "name": "n" * 101},
        {"do": "sound", "at": 12.5},
        "nonsense",
    ]:
        player._handle_custom_msg(message, [])
    await until(lambda: len(sent) == 3)
    (greeting, _), (refused, _), (sound, (data,)) = sent
    assert refused["text"].startswith("The name of a speaker is text of 1 to 100 characters")
    assert transcript.speakers == {2: "Grace"}
    assert player.newest["names"] == {"2": "Grace"}
    assert greeting["linked"]
    assert [word[0] for word in words(greeting)] == [58, 59]
    assert list(player.selected.index) == [3, 4]
    transcript.correct(3, "two words")
    transcript.correct(4, "")
    assert list(player.selected.index) == [3, 3]
    assert (sound["start"], sound["end"], sound["mime"]) == (2.5, 302.5, "audio/mp4")
    # 17.5 s are there.
    assert len(Sound(data).samples()) / RATE == pytest.approx(17.5, abs=0.1)


async def test_words_of_a_running_session_come_as_they_are_final(server: LoopbackServer) -> None:
    source = dgnb.BufferSource(bytes(32_000 * 60), encoding="linear16", sample_rate=RATE)
    session = dgnb.LiveSession(source, endpoint=server.url, pace=5.0).start()
    player = session.transcript.player()
    assert opened(framed(player))["sound"] is None
    await until(lambda: words(player.newest) if player.newest else False)
    await session.stop()
    await until(lambda: words(player.newest)[-1][0] == session.transcript.word_count - 1)
    assert len(words(player.newest)) <= 50
