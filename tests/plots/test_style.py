from __future__ import annotations

from dgnb.plots.style import writable


def test_characters_that_the_font_lacks_are_boxes() -> None:
    assert writable("\U0010fffd a\nb") == "□ a b"
    assert writable("naïve שלום") == "naïve שלום"
    assert writable("\x00\ud800") == "□"
