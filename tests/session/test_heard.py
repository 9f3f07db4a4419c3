from __future__ import annotations

import pytest

from dgnb import messages
from dgnb.messages import Results
from dgnb.session.heard import Heard


def final(start: float, duration: float, channel: tuple[int, int] = (0, 1)) -> Results:
    text = (
        f'{{"type":"Results","channel_index":[{channel[0]},{channel[1]}],"start":{start},"duration":{duration},'
        '"is_final":true,"channel":{"alternatives":[{"transcript":"","confidence":0,"words":[]}]}}'
    )
    message = messages.parse(text)
    assert isinstance(message, Results)
    return message


@pytest.mark.parametrize(
    ("finals", "end"),
    [
        ([], 0),
        ([(0, 5), (5, 1), (6, 4)], 10),
        ([(0, 5), (10, 2)], 5),
        ([(0, 5), (10, 2), (5, 5)], 12),
        ([(0, 5), (10, 2), (12, 2), (5, 2), (7, 3)], 14),
        ([(5, 5), (12, 2)], 0),
        ([(5, 5), (12, 2), (0, 5)], 10),
        ([(0, 5), (3, 1)], 5),
        ([(0, 5), (5.2, 2)], 7.2),
        ([(0, 5), (10, 15)], 5),
        # A hole that finals have passed by more than 20 s is silence that this server leaves out, as all later ones.
        ([(0, 5), (10, 16)], 26),
        ([(0, 5), (10, 16), (28, 2)], 30),
    ],
)
def test_finals_cover_what_has_no_hole_before_it(finals: list[tuple[float, float]], end: float) -> None:
    heard = Heard()
    for start, duration in finals:
        heard.take(final(start, duration))
    assert heard.end == pytest.approx(end)
    heard.close_holes()
    assert heard.end == max([0.0, *(start + duration for start, duration in finals)])


def test_of_several_channels_each_has_to_be_covered() -> None:
    heard = Heard()
    heard.take(final(0, 5, (0, 2)))
    assert heard.end == 0
    heard.close_holes()
    assert heard.end == 0
    heard.take(final(0, 3, (1, 2)))
    assert heard.end == 3


def test_a_final_that_reaches_further_is_progress_also_behind_a_hole() -> None:
    heard = Heard()
    assert [heard.take(final(*one)) for one in ((0, 5), (10, 2), (5, 5), (12, 0))] == [True, True, False, False]


def test_what_is_known_of_a_server_holds_for_its_next_connection() -> None:
    heard = Heard(leaves_out=True)
    heard.take(final(3, 1))
    assert heard.end == 4
