"""Pictures agree with the transcript, are readable, and are shown once."""

from __future__ import annotations

import base64
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import colors, pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

import dgnb
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.messages import Word
from dgnb.plots import style
from dgnb.transcript import Transcript
from tests.plots.talks import heard, sample, spoken, talk

SINGLE = ["timeline", "confidence", "latency", "speaking_rate"]
WITH_ALL = ["timeline", "overview"]
"""The overview contains the others."""


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    matplotlib.use("agg")
    yield
    assert pyplot.get_fignums() == []


def contrast(one: Any, other: Any) -> float:
    """The contrast of two colours as WCAG 2 defines it, 1 to 21."""

    def luminance(colour: Any) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def bars(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Left, right, bottom and top of all bars except gaps, from left to right."""
    found = [patch.get_path().transformed(patch.get_patch_transform()) for patch in ax.patches]
    found += [path for each in ax.collections if each.get_zorder() >= 1 for path in each.get_paths()]
    polygons = [polygon for path in found for polygon in path.to_polygons()]
    return sorted((*x, *y) for x, y in (np.stack([box.min(axis=0), box.max(axis=0)], 1).tolist() for box in polygons))


def gaps(ax: Axes) -> list[tuple[float, float]]:
    """Start and end of the gaps that are in view."""
    boxes = [path.vertices for each in ax.collections if each.get_zorder() < 1 for path in each.get_paths()]
    low, high = ax.get_xlim()
    spans = [(float(box[:, 0].min()), float(box[:, 0].max())) for box in boxes]
    return sorted((max(low, start), min(high, end)) for start, end in spans if start < high and end > low)


def written(ax: Axes) -> list[Text]:
    return [text for text in ax.texts if text.get_text()]


def labels(ax: Axes) -> list[str]:
    return [text.get_text() for text in written(ax)]


def named(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def shown(figure: Figure) -> list[Text]:
    """Every visible text, after drawing."""
    figure.canvas.draw()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def on_screen(figure: Figure) -> list[Text]:
    """As `shown`, without ticks beyond the ends of their axis."""
    texts, beyond = shown(figure), set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low <= tick.get_loc() <= high:
                    beyond |= {tick.label1, tick.label2}
    return [text for text in texts if text not in beyond]


def overlapping(texts: list[Text]) -> list[tuple[str, str]]:
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [
        (name, other)
        for number, (name, box) in enumerate(boxes)
        for other, beside in boxes[:number]
        if min(box.x1, beside.x1) - max(box.x0, beside.x0) > 0.5
        and min(box.y1, beside.y1) - max(box.y0, beside.y0) > 0.5
    ]


# Words


def test_a_word_is_drawn_at_its_time() -> None:
    ax = dgnb.plots.timeline(spoken(Word("one", 1.0, 1.5, 0.9), Word("two", 7.25, 7.5, 0.4)))
    assert labels(ax) == ["one", "two"]
    first, second = bars(ax)
    assert first[:2] == (1.0, 1.5)
    assert second[:2] == (1.25, 1.5)
    assert second[2] > first[3]


def test_a_word_across_two_rows_is_drawn_in_both_and_written_once() -> None:
    ax = dgnb.plots.timeline(spoken(Word("halfway", 5.5, 7.5, 0.9)))
    assert [bar[:2] for bar in bars(ax)] == [(0.0, 1.5), (5.5, 6.0)]
    assert labels(ax) == ["halfway"]
    ax.figure.canvas.draw()
    assert ax.transData.inverted().transform(written(ax)[0].get_window_extent())[:, 0].mean() == pytest.approx(
        0.75, abs=0.01
    )


def test_a_doubtful_word_is_paler() -> None:
    ax = dgnb.plots.timeline(spoken(Word("one", 1, 2, 0.9), Word("two", 2, 3, 0.2), Word("three", 3, 4, None)))
    sure, doubtful, unknown = (bar.get_facecolor()[3] for bar in ax.patches)
    assert sure > unknown > doubtful


def test_each_speaker_has_a_colour() -> None:
    words = [Word("a", 0, 1, 0.9, speaker=0), Word("b", 1, 2, 0.9, speaker=1), Word("c", 2, 3, 0.9, speaker=0)]
    ax = dgnb.plots.timeline(spoken(*words))
    first, second, third = (bar.get_facecolor() for bar in ax.patches)
    assert first == third != second
    assert named(ax) == ["speaker 0", "speaker 1"]


def test_a_speaker_has_the_same_colour_in_every_picture() -> None:
    words = [Word("a", n, n + 0.9, 0.9, speaker=n % 4) for n in range(200)]
    transcript = spoken(*words)
    blocks = dgnb.plots.timeline(transcript)
    lines = dgnb.plots.speaking_rate(transcript)
    for collection, line in zip(blocks.collections, lines.patches, strict=False):
        assert colors.to_hex(collection.get_facecolor()[0]) == colors.to_hex(line.get_edgecolor())
    few = [Word("a", 200 + n, 200.5 + n, 0.9, speaker=n % 6 + 4) for n in range(80)]
    lines = dgnb.plots.speaking_rate(spoken(*words[:4], *few))
    assert named(lines) == [f"speaker {n}" for n in range(4, 10)]
    assert colors.to_hex(lines.patches[0].get_edgecolor()) == style.PALETTE[4].lower()
    assert len({(line.get_edgecolor(), line.get_linestyle()) for line in lines.patches}) == 6
    later = dgnb.plots.timeline(spoken(*words[2:3], *words[:2]), start=2, end=3)
    assert named(later) == ["speaker 0", "speaker 1", "speaker 2"]


def test_a_long_transcript_has_a_line_for_each_speaker_with_utterances_as_blocks() -> None:
    words = [Word(str(n), n, n + 1, 0.9, speaker=n // 50 % 2) for n in range(200)]
    ax = dgnb.plots.timeline(spoken(*words))
    assert labels(ax) == []
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["speaker 0", "speaker 1"]
    assert [bar[:2] for bar in bars(ax)] == [(0, 50), (50, 100), (100, 150), (150, 200)]
    assert len(labels(dgnb.plots.timeline(spoken(*words), start=10, end=20))) == 10


def test_each_channel_has_its_own_line() -> None:
    transcript = Transcript()
    heard(transcript, Word("left", 1, 3, 0.9), channel=0)
    heard(transcript, Word("right", 1, 3, 0.9), channel=1)
    short = dgnb.plots.timeline(transcript)
    (_, _, _, top), (_, _, bottom, _) = bars(short)
    assert top <= bottom + 1e-9
    assert named(short) == ["channel 0", "channel 1"]
    long = dgnb.plots.timeline(transcript, end=100)
    assert [tick.get_text() for tick in long.get_yticklabels()] == ["channel 0", "channel 1"]


@pytest.mark.parametrize("width", [3.0, 6.0, 11.0])
def test_words_stay_within_their_bars(width: float) -> None:
    figure = Figure(figsize=(width, 4), layout="constrained")
    ax = dgnb.plots.timeline(sample(), ax=figure.add_subplot())
    figure.canvas.draw()
    assert overlapping(written(ax)) == []
    pixels = ax.transData.transform
    drawn = [(pixels((start, low)), pixels((end, high))) for start, end, low, high in bars(ax)]
    for text in written(ax):
        box = text.get_window_extent()
        middle = (box.y0 + box.y1) / 2
        assert any(x0 - 1 <= box.x0 and box.x1 <= x1 + 1 and y1 < middle < y0 for (x0, y0), (x1, y1) in drawn)
    assert len(written(ax)) > 10 or width < 6


def test_almost_every_word_of_the_sample_is_written() -> None:
    transcript = sample()
    assert len(written(dgnb.plots.timeline(transcript))) > 0.85 * len(transcript.words)


def test_words_that_overlap_are_not_written_over_each_other() -> None:
    words = [Word("overlapping", 1 + n / 10, 4 + n / 10, 0.9) for n in range(20)]
    ax = dgnb.plots.timeline(spoken(*words))
    ax.figure.canvas.draw()
    assert overlapping(written(ax)) == []


# Along time


def test_confidence_marks_the_doubtful_words() -> None:
    words = [Word("a", n, n + 1, 0.3 if n == 3 else 0.9) for n in range(10)]
    ax = dgnb.plots.confidence(spoken(*words), low=0.5)
    sure, doubted = (line.get_xydata().tolist() for line in ax.lines[:2])
    assert doubted == [[3.5, 0.3]]
    assert len(sure) == 9
    assert named(ax) == ["word", "below 0.5: 1", "mean of 5 s"]
    at, mean = ax.lines[2].get_data()
    assert np.interp(3.5, at, mean) == pytest.approx((0.9 + 0.3 + 0.9) / 3, abs=0.31)
    assert np.interp(8, at, mean) == pytest.approx(0.9)


def test_the_mean_breaks_where_nothing_was_said() -> None:
    ax = dgnb.plots.confidence(spoken(Word("a", 0, 1, 0.9), Word("b", 99, 100, 0.9)))
    at, mean = ax.lines[2].get_data()
    assert math.isnan(mean[np.searchsorted(at, 50)])


def test_words_without_a_confidence_are_left_out() -> None:
    ax = dgnb.plots.confidence(spoken(Word("a", 0, 1, None), Word("b", 1, 2, math.nan), Word("c", 2, 3, 0.8)))
    assert ax.lines[0].get_xydata().tolist() == [[2.5, 0.8]]
    assert labels(dgnb.plots.confidence(spoken(Word("a", 0, 1, None)))) == ["no word has a confidence"]


def test_latency_is_that_of_the_interims() -> None:
    transcript = Transcript()
    for end, behind in ((1.0, 0.5), (2.0, 0.25), (3.0, 1.0)):
        heard(transcript, Word("a", 0, end), final=False, audio_cursor=end + behind)
    heard(transcript, Word("a", 0, 4), audio_cursor=9)
    ax = dgnb.plots.latency(transcript)
    assert ax.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.25], [3, 1.0]]
    late = float(transcript.results["latency"].quantile(0.95))
    assert named(ax) == ["interim", "mean of 5 s", f"p95 {late:.2f} s"]
    assert ax.get_ylim()[1] > 1


def test_a_picture_without_latency_says_why() -> None:
    transcript = Transcript()
    assert labels(dgnb.plots.latency(transcript)) == ["no interims"]
    heard(transcript, Word("a", 0, 1), final=False)
    assert labels(dgnb.plots.latency(transcript)) == ["the audio cursor is unknown"]


def test_speaking_rate_has_a_line_for_each_speaker() -> None:
    slow = [Word("a", 2.0 * n, 2 * n + 1, 0.9, speaker=0) for n in range(30)]
    fast = [Word("a", 60 + n / 2, 60.5 + n / 2, 0.9, speaker=1) for n in range(120)]
    ax = dgnb.plots.speaking_rate(spoken(*slow, *fast), window=10)
    assert named(ax) == ["speaker 0", "speaker 1"]
    first, second = (line.get_data() for line in ax.patches)
    assert set(first.values) == {30}
    assert set(second.values) == {120}
    assert second.edges[0] == 60


def test_a_short_last_window_does_not_exaggerate_the_rate() -> None:
    ax = dgnb.plots.speaking_rate(spoken(*[Word("a", n, n + 0.1, 0.9) for n in range(21)]), window=10)
    assert ax.patches[0].get_data().values.tolist() == [60, 60, 12]


def test_an_overview_has_one_time_axis() -> None:
    transcript = talk(400)
    transcript.add_gap(20, 30, "the connection was lost")
    figure = dgnb.plots.overview(transcript)
    assert len(figure.axes) == 4
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "", "hours:minutes:seconds"]
    assert [gaps(ax) for ax in figure.axes] == [[(20, 30)]] * 4
    figure.canvas.draw()
    assert len({(round(ax.bbox.x0), round(ax.bbox.x1)) for ax in figure.axes}) == 1


def test_a_gap_is_a_grey_band() -> None:
    transcript = talk(400)
    transcript.add_gap(20, 30, "the connection was lost")
    transcript.add_gap(50, 50, "1.2 s were missed")
    for name in SINGLE:
        ax = getattr(dgnb.plots, name)(transcript)
        assert gaps(ax) == [(20, 30), (50, 50)]
        assert named(ax)[-1] == "not transcribed"


def test_a_gap_is_drawn_in_each_row_that_it_touches() -> None:
    transcript = spoken(Word("a", 0, 1, 0.9), Word("b", 20, 21, 0.9))
    transcript.add_gap(5, 13, "the connection was lost")
    assert gaps(dgnb.plots.timeline(transcript)) == [(0, 1), (0, 6), (5, 6)]


@pytest.mark.parametrize(
    ("end", "ticks", "label"),
    [
        (1.0, ["0.0", "0.2", "0.4"], "seconds"),
        (100.0, ["0", "20", "40"], "seconds"),
        (150.0, ["0:00:00", "0:00:15", "0:00:30"], "hours:minutes:seconds"),
        (3000.0, ["0:00:00", "0:05:00", "0:10:00"], "hours:minutes:seconds"),
        (9000.0, ["0:00:00", "0:15:00", "0:30:00"], "hours:minutes:seconds"),
        (1e9, None, "hours:minutes:seconds"),
    ],
)
def test_ticks_are_seconds_or_times(end: float, ticks: list[str] | None, label: str) -> None:
    ax = dgnb.plots.confidence(spoken(Word("a", end - 0.5, end, 0.9)))
    ax.figure.canvas.draw()
    written = [tick.get_text() for tick in ax.get_xticklabels()]
    assert len(written) < 16
    if ticks:
        at = written.index(ticks[0])
        assert written[at : at + 3] == ticks
    assert ax.get_xlabel() == label


# All pictures

ODD: dict[str, Callable[[], Transcript]] = {
    "nothing": Transcript,
    "silence": spoken,
    "one word": lambda: spoken(Word("one", 0, 1, 0.9)),
    "signs": lambda: spoken(Word("$x^2$ <b>", 0, 0, None), Word("_a", 1, 2, 0.5), Word("", 2, 3, 0.5)),
    "late": lambda: spoken(Word("late", 500, 501, 0.5)),
    "very late": lambda: spoken(Word("late", 1e9 - 1, 1e9, 0.5, speaker=2**53)),
    "early": lambda: spoken(Word("early", -500, -499, 0.5), Word("late", 3, 4, 0.5)),
    "backwards": lambda: spoken(Word("a", 5, 3, 0.5), Word("b", 2, 1, 0.5)),
    "no confidence": lambda: spoken(Word("a", 0, 1, math.nan), Word("b", 1, 2, None)),
    "no confidence that makes sense": lambda: spoken(Word("a", 0, 1, -5), Word("b", 1, 2, math.inf)),
    "some speakers": lambda: spoken(Word("a", 0, 1, 0.5, speaker=3), Word("b", 1, 2, 0.5)),
    "scripts": lambda: spoken(
        *(
            Word(word, n, n + 1, 0.9)
            for n, word in enumerate(["你好", "שלום", "مرحبا", "हिन्दी", "😀", "\x00\n\t", "\u200f", "สวัสดี"])
        )
    ),
    "only gaps": lambda: lost(5.0),
    "only a moment": lambda: lost(0.0),
    "a crowd": lambda: talk(400, 200),
    "a page full": lambda: spoken(*[Word("word", n / 50, n / 50 + 0.02, 0.9) for n in range(1500)]),
}


def lost(until: float) -> Transcript:
    transcript = Transcript()
    transcript.add_gap(0, until, "失われた\nconnection $\\no$ \x00")
    return transcript


@pytest.mark.parametrize("name", WITH_ALL)
@pytest.mark.parametrize("odd", ODD)
def test_anything_can_be_drawn(odd: str, name: str) -> None:
    drawn = getattr(dgnb.plots, name)(ODD[odd]())
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    figure.canvas.draw()
    assert all(ax.bbox.width > 100 and ax.bbox.height > 20 for ax in figure.axes)


def test_a_picture_without_data_says_so() -> None:
    transcript = Transcript()
    assert labels(dgnb.plots.timeline(transcript)) == labels(dgnb.plots.timeline(transcript, end=100)) == ["no words"]
    told = [labels(ax) for ax in dgnb.plots.overview(transcript).axes]
    assert told == [["no words"], ["no words"], ["no interims"], ["no words"]]


def test_text_is_never_read_as_mathematics() -> None:
    transcript = spoken(Word("$x^2$", 0, 2, 0.9), Word("$\\no$", 2, 4, 0.9))
    ax = dgnb.plots.timeline(transcript)
    ax.figure.canvas.draw()
    assert labels(ax) == ["$x^2$", "$\\no$"]


@pytest.mark.parametrize("name", SINGLE)
def test_a_picture_can_be_drawn_on_your_own_axes(name: str) -> None:
    figure = Figure(figsize=(4, 3))
    ax = figure.add_subplot()
    assert getattr(dgnb.plots, name)(talk(300), ax=ax) is ax
    inner = figure.subfigures().add_subplot()
    assert getattr(dgnb.plots, name)(talk(300), ax=inner) is inner
    figure.canvas.draw()


@pytest.mark.parametrize("make", [sample, lambda: talk(2000), lambda: talk(300, 9)], ids=["sample", "long", "nine"])
@pytest.mark.parametrize("name", WITH_ALL)
def test_no_text_is_cut_off_or_overlaps_another(name: str, make: Callable[[], Transcript]) -> None:
    transcript = make()
    transcript.add_gap(4, 9, "the connection was lost for longer than is kept")
    drawn = getattr(dgnb.plots, name)(transcript)
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    texts = on_screen(figure)
    assert len(texts) > 5
    assert overlapping(texts) == []
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


# Styles


@pytest.mark.parametrize("chosen", ["default", "dark_background"])
@pytest.mark.parametrize("name", WITH_ALL)
def test_text_is_readable_in_every_style(name: str, chosen: str) -> None:
    with matplotlib.style.context(chosen):
        transcript = talk(60, 8) if name == "timeline" else sample()
        transcript.add_gap(4, 9, "the connection was lost")
        drawn = getattr(dgnb.plots, name)(transcript)
        figure = drawn if isinstance(drawn, Figure) else drawn.figure
        texts = shown(figure)
    assert all(contrast(text.get_color(), figure.get_facecolor()) >= 4.5 for text in texts)
    ground = np.array(figure.get_facecolor()[:3])
    for bar in figure.axes[0].patches if name == "timeline" else ():
        *face, opaque = bar.get_facecolor()
        mixed = ground * (1 - opaque) + np.array(face) * opaque
        assert all(contrast(word.get_color(), mixed) >= 4.5 for word in figure.axes[0].texts)


# Wrong arguments


@pytest.mark.parametrize("name", [*SINGLE, "overview"])
@pytest.mark.parametrize(
    "wrong", [None, "talk.jsonl", 3, [], Transcript().words], ids=["None", "str", "int", "list", "frame"]
)
def test_only_a_transcript_is_accepted(name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}\(\) draws a Transcript, not {type(wrong).__name__}\."):
        getattr(dgnb.plots, name)(wrong)


def test_the_error_for_a_session_names_its_transcript() -> None:
    class Session:
        transcript = Transcript()

    with pytest.raises(ConfigurationError, match=r"not Session\. Pass its \.transcript\."):
        dgnb.plots.timeline(Session())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SINGLE)
def test_only_axes_are_accepted_as_ax(name: str) -> None:
    with pytest.raises(ConfigurationError, match="ax must be a matplotlib Axes, or None for a new one, not Figure"):
        getattr(dgnb.plots, name)(Transcript(), ax=Figure())


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("timeline", {"start": 5, "end": 5}, "end must be after start"),
        ("timeline", {"start": "1:00"}, "start must be a number, not '1:00'"),
        ("timeline", {"end": math.nan}, "end must be a number"),
        ("timeline", {"start": math.inf}, "start must be a number"),
        ("confidence", {"low": "half"}, "low must be a number"),
        ("speaking_rate", {"window": 0}, "above 0"),
        ("speaking_rate", {"window": [1]}, "window must be a number"),
        ("speaking_rate", {"window": math.nan}, "window must be a number"),
        ("speaking_rate", {"window": 1e-9}, "too short"),
    ],
)
def test_a_wrong_argument_is_a_clear_error(name: str, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        getattr(dgnb.plots, name)(talk(16), **arguments)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in list(sys.modules):
        if module.partition(".")[0] == "matplotlib":
            monkeypatch.setitem(sys.modules, module, None)
        elif module.startswith("dgnb.plots"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(dgnb, "plots")
    for _ in range(2):
        with pytest.raises(DgnbError, match=r"pip install 'dgnb\[plots\]'"):
            dgnb.plots.timeline(Transcript())


# Display


def test_no_figure_is_left_open() -> None:
    for _ in range(3):
        dgnb.plots.timeline(spoken(Word("one", 0, 1, 0.9)))
    assert pyplot.get_fignums() == []


CELLS = {
    "axes": "dgnb.plots.timeline(transcript)",
    "axes, quietly": "dgnb.plots.timeline(transcript);",
    "axes, kept": "ax = dgnb.plots.timeline(transcript)",
    "figure": "dgnb.plots.overview(transcript)",
    "figure, quietly": "dgnb.plots.overview(transcript);",
    "figure, kept": "figure = dgnb.plots.overview(transcript)",
    "figure of the axes": "dgnb.plots.latency(transcript).figure",
    "displayed": "display(dgnb.plots.overview(transcript))",
    "two": "dgnb.plots.confidence(transcript); dgnb.plots.latency(transcript);",
    "own axes": "figure, ax = pyplot.subplots(); dgnb.plots.timeline(transcript, ax=ax);",
}


def test_a_notebook_shows_each_picture_once() -> None:
    nbformat = importlib.import_module("nbformat")
    client = importlib.import_module("nbclient").NotebookClient
    setup = (
        "import dgnb; from matplotlib import pyplot; transcript = dgnb.Transcript(); transcript.add_gap(0, 5, 'lost')"
    )
    after = "import sys; assert pyplot.get_fignums() == []; print(dgnb.plots.style.figure(1)._ipython_display_)"
    cells = [nbformat.v4.new_code_cell(source) for source in [setup, *CELLS.values(), after]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client(notebook, timeout=60, kernel_name="python3").execute()
    seen = {}
    for name, cell in zip(CELLS, notebook.cells[1:], strict=False):
        pictures = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
        assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
        seen[name] = len(pictures)
    assert seen == dict.fromkeys(CELLS, 1) | {"two": 2}


# Size


@pytest.mark.parametrize("name", WITH_ALL)
def test_a_long_transcript_is_few_artists(name: str) -> None:
    drawn = getattr(dgnb.plots, name)(talk(20_000))
    axes = drawn.axes if isinstance(drawn, Figure) else [drawn]
    assert all(len(ax.lines) + len(ax.collections) + len(ax.texts) + len(ax.patches) < 20 for ax in axes)
    assert all(len(bars(ax)) <= 20_000 for ax in axes)


def test_dir_shows_public_names_only() -> None:
    assert dir(dgnb.plots) == sorted(dgnb.plots.__all__)
