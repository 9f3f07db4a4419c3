"""A session's report: one line of figures and, after a fault, what helps to find its cause."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Final

from dgnb._version import __version__

if TYPE_CHECKING:
    from dgnb.session.stream import Stream

_PACKAGES: Final = ("websockets", "aiohttp", "av", "msgspec", "pandas", "ipywidgets", "ipykernel")


def report(stream: Stream) -> str:
    """One line of figures; after a fault, also what happened and on which system."""
    lines, error = [figures(stream)], stream.error
    fault = error or stream.last_fault
    if fault is None:
        return lines[0]
    lines += ["", f"{type(fault).__name__}: {fault}" if error else f"The last fault: {fault}"]
    for name in ("status", "error", "code", "reason", "request_id"):
        if (value := getattr(fault, name, None)) not in (None, ""):
            lines.append(f"  {name}: {value}")
    lines.append(f"endpoint: {stream.endpoint}")
    found = [f"dgnb {__version__}"]
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    lines.append(f"on: Python {platform.python_version()}, {platform.system()}, {', '.join(found)}")
    return "\n".join(lines)


def figures(stream: Stream) -> str:
    """What became of the audio, how many words came, and the longest waits: one line."""
    capture = stream.capture
    captured, pending = capture.captured, capture.pending
    lost = capture.seconds(sum(gap.end - gap.start for gap in capture.ledger.gaps))
    covered = max(0.0, captured - pending - lost)
    reconnects = max(0, stream.connections - 1)
    return (
        f"{captured:.1f} s captured, {covered:.1f} s acknowledged, {pending:.1f} s pending, "
        f"{lost:.1f} s in gaps; "
        f"{stream.transcript.word_count} words; {reconnects} {'reconnect' if reconnects == 1 else 'reconnects'}; "
        f"longest time the kernel was busy {stream.watch.worst:.1f} s"
    )
