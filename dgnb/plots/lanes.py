"""Who spoke when: words written out like a page, or a line a speaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dgnb.plots import paper

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Voices", "lanes", "rows", "voices", "written_out"]

SECONDS_A_ROW: Final = 6.0
_SIZES: Final = (8.0, 7.0)
"""Points that words are written in: the first that fits."""
_MOST_LANES: Final = 24
_PIXELS: Final = 4000
"""What is closer than a part in so many is drawn as one."""


class Voices(NamedTuple):
    """Who says which word; speakers of different channels are different."""

    of: npt.NDArray[np.int64]
    """For each word, a place in the lists."""
    names: list[str]
    looks: list[int]
    """What decides colour and hatching: the same in every picture; -1 for those who are drawn together."""


def voices(words: pd.DataFrame, most: int = _MOST_LANES) -> Voices:
    """The speakers of a words table, in order; those who say least are one where there are more than `most`."""
    import numpy as np
    import pandas as pd

    channels, channel_names = pd.factorize(words["channel"], sort=True)
    speakers, speaker_names = pd.factorize(words["speaker"], sort=True)
    unknown = len(speaker_names)
    both = channels * (unknown + 1) + np.where(speakers < 0, unknown, speakers)
    codes, of = np.unique(both, return_inverse=True)
    names = []
    for code in codes:
        channel, speaker = divmod(int(code), unknown + 1)
        parts = [f"channel {channel_names[channel]}"] if len(channel_names) > 1 else []
        if speaker < unknown:
            parts.append(f"speaker {speaker_names[speaker]}")
        elif unknown:
            parts.append("no speaker")
        names.append(" · ".join(parts) or "words")
    looks = list(range(len(names)))
    if len(names) > most:
        kept = np.sort(np.argsort(-np.bincount(of), kind="stable")[: most - 1])
        new = np.full(len(names), most - 1)
        new[kept] = np.arange(most - 1)
        of, names = new[of], [*(names[voice] for voice in kept), f"{len(names) - most + 1} others"]
        looks = [*kept.tolist(), -1]
    return Voices(of.astype("int64"), names, looks)


def rows(start: float, end: float) -> int:
    """How many rows are written out."""
    return max(1, -int(-(end - start) // SECONDS_A_ROW))


class _Piece(NamedTuple):
    """A word, or what of it stands in one row: its place there in seconds."""

    x: float
    end: float
    look: int
    confidence: float
    text: str


def written_out(words: pd.DataFrame, who: Voices, gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """Rows of 6 seconds; each word a bar, with its text where there is room."""
    from matplotlib.patches import Patch

    count = rows(start, end)
    channels = sorted(words["channel"].unique())
    height = 0.76 / max(1, len(channels))
    ax.set_xlim(0, SECONDS_A_ROW)
    ax.set_ylim(count - 0.45, -0.55)
    ax.set_yticks(range(count), [_row_name(start + row * SECONDS_A_ROW, end) for row in range(count)])
    ax.tick_params(axis="y", length=0)
    sure = bool(words["confidence"].notna().any())
    ax.set_xlabel("seconds after the start of the row" + ("; fainter: less sure" if sure else ""))
    handles = [
        Patch(facecolor=paper.shade(ax, look), edgecolor=paper.grey(ax, 0), hatch=paper.pattern(look), lw=0, label=name)
        for look, name in zip(who.looks, who.names, strict=True)
        if len(who.names) > 1
    ]
    paper.legend(ax, [*handles, *_gaps_in_rows(ax, gaps, start, end, count)])
    if words.empty:
        paper.say(ax, "no words")
    wide, tall = paper.points_wide(ax)
    sizes = [size for size in _SIZES if size * 1.3 <= tall / (count + 0.1) * height]
    for (row, channel), pieces in _in_rows(words, who, start, count).items():
        middle = row - 0.38 + height * (channels.index(channel) + 0.5)
        _bars(ax, pieces, middle - height / 2, middle + height / 2)
        _labels(ax, pieces, middle, wide / SECONDS_A_ROW, sizes)


def _row_name(seconds: float, end: float) -> str:
    return f"{seconds:g} s" if end < 120 else paper.clock(seconds, end)


def _in_rows(words: pd.DataFrame, who: Voices, start: float, count: int) -> dict[tuple[int, int], list[_Piece]]:
    """What stands in each row of each channel, from left to right."""
    placed: dict[tuple[int, int], list[_Piece]] = {}
    table = zip(
        words["start"].tolist(),
        words["end"].tolist(),
        [who.looks[voice] for voice in who.of.tolist()],
        words["confidence"].tolist(),
        words["punctuated_word"].tolist(),
        words["channel"].tolist(),
        strict=True,
    )
    for begin, end, look, confidence, text, channel in table:
        first, end = max(0.0, begin - start), min(end - start, count * SECONDS_A_ROW)
        pieces = []
        row = min(int(first // SECONDS_A_ROW), count - 1)
        while True:
            left = row * SECONDS_A_ROW
            x, finish = max(first, left) - left, min(max(end, first) - left, SECONDS_A_ROW)
            pieces.append((row, x, finish))
            row += 1
            if end <= row * SECONDS_A_ROW or row == count:
                break
        longest = max(pieces, key=lambda piece: piece[2] - piece[1])
        for piece in pieces:
            shown = text if piece is longest else ""
            placed.setdefault((piece[0], channel), []).append(_Piece(piece[1], piece[2], look, confidence, shown))
    for line in placed.values():
        line.sort(key=lambda piece: piece.x)
    return placed


def _bars(ax: Axes, pieces: list[_Piece], low: float, high: float) -> None:
    for look in sorted({piece.look for piece in pieces}):
        those = [piece for piece in pieces if piece.look == look]
        paper.boxes(
            ax,
            [paper.Box(piece.x, piece.end, low, high) for piece in those],
            facecolors=[paper.shade(ax, look, _strength(piece.confidence)) for piece in those],
            # Hatching is drawn in the colour of the edge, and text can be read on that of the paper.
            edgecolor=paper.grey(ax, 0),
            hatch=paper.pattern(look),
            linewidth=0.8,
        )


def _strength(confidence: float) -> float:
    """How strong a word's colour is; a missing confidence is in between."""
    return 0.6 if confidence != confidence else min(1.0, max(0.0, confidence))


def _labels(ax: Axes, pieces: list[_Piece], middle: float, points_a_second: float, sizes: list[float]) -> None:
    """Write each word on its bar, or beyond it where nothing else is."""
    from matplotlib.patheffects import withStroke

    free = 0.0
    for number, piece in enumerate(pieces):
        right = pieces[number + 1].x if number + 1 < len(pieces) else SECONDS_A_ROW
        text = paper.writable(piece.text) if right > free else ""
        for size in sizes if text.strip() else ():
            width = paper.text_width(text, size) / points_a_second
            if width <= right - free:
                x = min(max((piece.x + piece.end) / 2, free + width / 2), right - width / 2)
                label = ax.text(
                    x,
                    middle,
                    text,
                    ha="center",
                    va="center_baseline",
                    fontproperties=paper.typeface(text, size),
                    color=paper.ink(ax),
                    parse_math=False,
                    clip_on=True,
                )
                label.set_in_layout(False)
                if paper.pattern(piece.look):
                    ground = paper.shade(ax, piece.look, _strength(piece.confidence))
                    label.set_path_effects([withStroke(linewidth=3, foreground=ground)])
                free = x + width / 2
                break
        free = max(free, piece.end)


def _gaps_in_rows(ax: Axes, gaps: pd.DataFrame, start: float, end: float, count: int) -> list[Any]:
    boxes = []
    for begin, finish, reason in zip(gaps["start"], gaps["end"], gaps["reason"], strict=True):
        if finish < start or begin > end:
            continue
        first = int(max(0.0, begin - start) // SECONDS_A_ROW)
        for row in range(first, count):
            left = start + row * SECONDS_A_ROW
            if finish < left or (finish == left and row > first):
                break
            x, right = max(begin - left, 0.0), min(finish - left, SECONDS_A_ROW)
            boxes.append((reason, paper.Box(x, max(right, x + 0.01), row - 0.45, row + 0.45)))
    return paper.gap_boxes(ax, boxes)


def lanes(words: pd.DataFrame, who: Voices, gaps: pd.DataFrame, start: float, end: float, ax: Axes) -> None:
    """A line a speaker, utterances as blocks."""
    import numpy as np

    utterance = words["utterance"].to_numpy()
    begins, ends = words["start"].to_numpy(), words["end"].to_numpy()
    _, of = np.unique(np.stack([who.of, utterance]), axis=1, return_inverse=True)
    of = of.reshape(-1)
    count = int(of.max()) + 1 if of.size else 0
    first, last, voice = np.full(count, np.inf), np.full(count, -np.inf), np.zeros(count, dtype="int64")
    np.minimum.at(first, of, begins)
    np.maximum.at(last, of, ends)
    voice[of] = who.of
    for row, look in enumerate(who.looks):
        mine = voice == row
        blocks = _joined(first[mine], last[mine], (end - start) / _PIXELS)
        paper.boxes(
            ax,
            [paper.Box(begin, finish, row - 0.36, row + 0.36) for begin, finish in blocks],
            facecolor=paper.colour(ax, look),
            edgecolor=paper.grey(ax, 0),
            hatch=paper.pattern(look),
            linewidth=0,
        )
    ax.set_ylim(max(1, len(who.names)) - 0.45, -0.55)
    ax.set_yticks(range(len(who.names)), who.names)
    ax.tick_params(axis="y", length=0)
    if words.empty:
        paper.say(ax, "no words")
    paper.time_axis(ax, start, end)
    paper.legend(ax, paper.gap_bands(ax, gaps, start, end))


def _joined(first: paper.Floats, last: paper.Floats, near: float) -> list[tuple[float, float]]:
    """The same blocks in order, those that touch or nearly do as one, none too narrow to be seen."""
    import numpy as np

    if not first.size:
        return []
    order = np.argsort(first, kind="stable")
    first, reach = first[order], np.maximum.accumulate(last[order])
    new = np.flatnonzero(np.concatenate([[True], first[1:] > reach[:-1] + near]))
    finish = reach[np.concatenate([new[1:] - 1, [first.size - 1]])]
    return list(zip(first[new].tolist(), np.maximum(finish, first[new] + near).tolist(), strict=True))
