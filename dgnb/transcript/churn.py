"""`Churn`: how often the words of a final were rewritten while they were interim."""

from __future__ import annotations

from dgnb.messages import Results, Word
from dgnb.transcript.records import channel_of


class Churn:
    """Compares each `Results` with the interim before it, for each channel of each connection.

    `Transcript.results` defines the measure.
    """

    def __init__(self) -> None:
        self._hearings: dict[tuple[int, int], _Hearing] = {}

    def take(self, results: Results, connection: int) -> float | None:
        """Take the next `Results`.

        Returns:
            For a final, how often a word of it was rewritten, by the word. None for an interim, for a final that no
            interim came before, and for a final without words.
        """
        key = (connection, channel_of(results))
        hearing = self._hearings.get(key)
        if not results.is_final:
            if hearing is None:
                hearing = self._hearings[key] = _Hearing()
            hearing.compare(results)
            return None
        if hearing is None:
            return None
        rewritten = hearing.settle(results)
        if not hearing.words:
            del self._hearings[key]
        return rewritten / len(results.words) if results.words else None


class _Hearing:
    """The words of the newest interim, and how often the word at each place was rewritten."""

    def __init__(self) -> None:
        self.words: tuple[Word, ...] = ()
        self._texts: list[str] = []
        self._rewritten: list[int] = []

    def compare(self, results: Results) -> int:
        """Count what the next hearing rewrites. Returns how many words of the one before it reaches."""
        before, words, texts = self.words, results.words, [word.word for word in results.words]
        reach = len(before)
        if texts[:reach] != self._texts:
            end = results.start + results.duration
            # Words beyond the end of this hearing are not withdrawn: a later hearing brings them again.
            while reach and _beyond(before[reach - 1], end):
                reach -= 1
            for place in range(reach):
                if place >= len(texts) or texts[place] != self._texts[place]:
                    self._rewritten[place] += 1
        self._rewritten += [0] * (len(texts) - len(self._rewritten))
        self.words, self._texts = words, texts
        return reach

    def settle(self, results: Results) -> int:
        """Take the final. Returns how often its words were rewritten; words beyond its end stay for the next one."""
        before = self.words
        left = max(self.compare(results), len(results.words))
        self.words = before[left:]
        self._texts = [word.word for word in self.words]
        waiting = self._rewritten[left : len(before)]
        total = sum(self._rewritten) - sum(waiting)
        self._rewritten = waiting
        return total


def _beyond(word: Word, end: float) -> bool:
    """Whether more of the word lies after `end` than before."""
    return word.start + word.end > 2 * end
