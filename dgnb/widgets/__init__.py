"""The control panel and live captions, as ipywidgets over a `LiveSession`.

Widgets hold no logic of streaming: they make a session, show it, and pass clicks on. A widget belongs to the loop that
runs where it is made, the kernel's. Some kernels call callbacks in other threads and loops (ipykernel 7.0 to 7.3 in
JupyterLab uses a new thread for each), so a callback only hands its work to that loop.

Widgets redraw by the clock and not for each message: at most five times a second, with a bounded size each.
"""

from dgnb.widgets.captions import LiveCaptions
from dgnb.widgets.microphone import Microphone
from dgnb.widgets.panel import ControlPanel
from dgnb.widgets.player import Player

__all__ = ["ControlPanel", "LiveCaptions", "Microphone", "Player"]
