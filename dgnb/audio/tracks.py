"""Which of a container's audio tracks is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgnb.exceptions import AudioError
from dgnb.values import native, whole

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer


def as_track(track: Any) -> int | str | None:
    """Check that what a person passes as `track` is an index, a language or None."""
    track = native(track)
    if track is None or (isinstance(track, str) and track.strip() and not track.isdecimal()):
        return track
    return whole("track is an index from 0 on or a language such as 'eng'", track, least=0)


def chosen(container: InputContainer, name: str, track: int | str | None) -> AudioStream:
    """The track that is asked for; without `track`, the one that the container marks as default, or else the first."""
    from av.stream import Disposition

    found = _tracks(container)
    if not found:
        raise AudioError(f"{name} holds no audio ({container.format.long_name}). Give an audio or video file.")
    if track is None:
        return next((stream for stream in found if stream.disposition & Disposition.default), found[0])
    for number, stream in enumerate(found):
        if number == track or (isinstance(track, str) and stream.language == track.strip().lower()):
            return stream
    there = "; ".join(_described(container, stream) for stream in found)
    raise AudioError(f"{name} has no audio track {track!r}. It has {there}. Use one of these, or leave out track.")


def other_tracks(container: InputContainer, heard: AudioStream) -> str:
    """A sentence on the tracks that are not heard, or ""."""
    others = "; ".join(_described(container, stream) for stream in _tracks(container) if stream != heard)
    return others and f"{_described(container, heard)} is heard. There are also {others}."


def stated_end(container: InputContainer, stream: AudioStream) -> float:
    """The timestamp in seconds at which a track ends by the header; 0.0 where it does not say."""
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    try:
        # Matroska has the end of each track in its tags, and only the end of the longest in its header.
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return (container.duration or 0) / 1_000_000 if len(container.streams) == 1 else 0.0


def _tracks(container: InputContainer) -> list[AudioStream]:
    """The audio tracks; one in a codec that is not known here has no format."""
    return [stream for stream in container.streams.audio if stream.codec_context]


def _described(container: InputContainer, stream: AudioStream) -> str:
    more = [stream.language, stream.layout.name, stream.metadata.get("title")]
    return f"track {_tracks(container).index(stream)} ({', '.join(filter(None, more))})"
