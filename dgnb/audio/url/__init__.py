"""What is read over http: `URLSource`, in `source.py`."""

from __future__ import annotations

from dgnb.audio.url.source import URLSource

__all__ = ["URLSource"]
