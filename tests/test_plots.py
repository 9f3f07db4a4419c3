from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
from matplotlib import pyplot

import dgnb
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Alternative, Channel, Results, Word
from dgnb.transcript import Transcript


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    pyplot.close("all")


def spoken(*words: Word) -> Transcript:
    transcript = Transcript()
    text = " ".join(word.word for word in words)
    end = max((word.end for word in words), default=1.0)
    channel = Channel((Alternative(text, 0.9, words),))
    transcript.feed(Results((0, 1), end, 0.0, channel, is_final=True, speech_final=True))
    return transcript


def labels(ax: matplotlib.axes.Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_each_word_stands_at_its_time() -> None:
    ax = dgnb.plots.timeline(spoken(Word("one", 1.0, 1.5, 0.9), Word("two", 7.25, 7.5, 0.4)))
    assert labels(ax) == ["one", "two"]
    first, second = ax.patches
    assert (first.get_x(), first.get_width()) == (1.0, 0.5)
    assert second.get_x() == 1.25
    assert second.get_y() > first.get_y()
    assert second.get_alpha() < first.get_alpha()


def test_speakers_have_colours_of_their_own() -> None:
    words = [Word("a", 0, 1, 0.9, speaker=0), Word("b", 1, 2, 0.9, speaker=1), Word("c", 2, 3, 0.9, speaker=0)]
    ax = dgnb.plots.timeline(spoken(*words))
    one, two, three = (patch.get_facecolor() for patch in ax.patches)
    assert one == three != two


def test_a_long_stretch_is_a_line_a_speaker() -> None:
    words = [Word(str(n), n, n + 0.5, 0.9, speaker=n % 2) for n in range(200)]
    ax = dgnb.plots.timeline(spoken(*words))
    assert labels(ax) == []
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["speaker 0", "speaker 1"]
    assert len(labels(dgnb.plots.timeline(spoken(*words), start=10, end=20))) == 10


@pytest.mark.parametrize(
    "transcript",
    [Transcript(), spoken(), spoken(Word("$x^2$ <b>", 0, 0, None)), spoken(Word("late", 500, 501, 0.5))],
    ids=["nothing", "silence", "signs", "late"],
)
def test_anything_can_be_drawn(transcript: Transcript) -> None:
    ax = dgnb.plots.timeline(transcript)
    assert ax.figure is not None
    ax.figure.canvas.draw()


def test_it_draws_where_it_is_told() -> None:
    _, ax = pyplot.subplots()
    assert dgnb.plots.timeline(spoken(Word("one", 0, 1, 0.9)), ax=ax) is ax


def test_an_empty_stretch_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="after start"):
        dgnb.plots.timeline(Transcript(), start=5, end=5)
