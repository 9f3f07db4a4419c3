"""The control panel and live captions, as ipywidgets over a `LiveSession`.

Widgets hold no logic of streaming: they make a session, show it and hand clicks over. All of it lives on the loop that
runs where the widget is made, the kernel's. Callbacks come from other threads and loops on some kernels, so they only
hand over (ipykernel 7.0 to 7.3 in JupyterLab calls every one of them in a thread of its own).

The screen is fed by the clock and not by messages: at most five redraws a second, each of bounded size.
"""

from dgnb.widgets.captions import LiveCaptions
from dgnb.widgets.panel import ControlPanel

__all__ = ["ControlPanel", "LiveCaptions"]
