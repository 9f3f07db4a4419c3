"""The error rates of runs, as bars."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from dgnb.comparison import Comparison
from dgnb.exceptions import ConfigurationError
from tests.support.spoken import spoken

TEXT = "alpha bravo delta hotel"


def test_each_run_has_a_bar_of_its_errors() -> None:
    runs = {"good": spoken(TEXT.split()), "$bad$": spoken(["alpha", "golf", "delta"])}
    ax = Comparison(runs, TEXT).plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["good", r"\$bad\$"]
    assert [[bar.get_width() for bar in kind] for kind in ax.containers[:3]] == [[0, 25], [0, 25], [0, 0]]
    ax.figure.draw_without_rendering()


def test_without_a_reference_the_disagreement_is_drawn_on_the_axes_that_are_passed() -> None:
    ax = Figure().add_subplot()
    assert Comparison({"a": spoken(TEXT.split()), "b": spoken(["alpha"] * 4)}).plot(ax) is ax
    assert [bar.get_width() for bar in ax.patches] == [75, 75]
    with pytest.raises(ConfigurationError, match="matplotlib Axes"):
        Comparison({"a": spoken(["one"]), "b": spoken(["two"])}).plot(7)  # type: ignore[arg-type]
