"""`Churn`: how often the words of a final were rewritten while they were interim."""

from __future__ import annotations

from dgnb.messages import Results, Word
from dgnb.transcript.records import channel_of


class Churn:
    """Compares each `Results` with the interim before it, by channel and connection; see `Transcript.results`."""

    def __init__(self) -> None:
        self._heard: dict[tuple[int, int], tuple[tuple[Word, ...], list[str], list[int]]] = {}
        """The words of the newest interim, their texts, and how often the word at each place was rewritten."""

    def take(self, results: Results, connection: int) -> float | None:
        """How often a word of a final was rewritten, by the word; None where nothing came before, and for others."""
        key = connection, channel_of(results)
        if results.is_final and key not in self._heard:
            return None
        before, texts, counts = self._heard.pop(key, ((), [], []))
        words, said = results.words, [word.word for word in results.words]
        reach = len(before)
        if said[:reach] != texts:
            end = results.start + results.duration
            # Words of which more lies beyond the end are not withdrawn: a later hearing brings them again.
            while reach and before[reach - 1].start + before[reach - 1].end > 2 * end:
                reach -= 1
            for place in range(reach):
                counts[place] += said[place : place + 1] != texts[place : place + 1]
        counts += [0] * (len(said) - len(counts))
        if not results.is_final:
            self._heard[key] = words, said, counts
            return None
        waiting = slice(max(reach, len(said)), len(before))
        if before[waiting]:
            self._heard[key] = before[waiting], texts[waiting], counts[waiting]
        return (sum(counts) - sum(counts[waiting])) / len(said) if said else None
