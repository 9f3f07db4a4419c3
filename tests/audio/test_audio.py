"""What a person passes becomes a source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, URLSource, as_source
from dgnb.exceptions import AudioError, ConfigurationError


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def test_each_kind_of_input_becomes_its_kind_of_source() -> None:
    assert isinstance(as_source("talk.m4a"), FileSource)
    assert isinstance(as_source(Path("talk.m4a")), FileSource)
    assert isinstance(as_source("http://127.0.0.1/radio"), URLSource)
    assert isinstance(as_source(" HTTPS://127.0.0.1/radio\n"), URLSource)
    assert isinstance(as_source(b"RIFF"), BufferSource)
    assert isinstance(as_source(np.zeros(9), sample_rate=16_000), BufferSource)
    assert isinstance(as_source(np.zeros(9, "int16"), sample_rate=16_000, encoding="linear16"), BufferSource)
    assert isinstance(as_source(nothing()), BufferSource)


@pytest.mark.parametrize(
    "pasted",
    [
        '"{path}"',
        "'{path}'",
        "\u201c{path}\u201d",
        "\u2018{path}\u2019",
        '  "{path}" \n',
        "{path}\n",
        "{url}",
        "'{url}'",
        "<{url}>",
        " {url}\n",
        "FILE://localhost{path}",
        "file:{path}",
    ],
)
def test_a_path_is_found_as_desktops_and_terminals_copy_it(pasted: str, tmp_path: Path) -> None:
    path = tmp_path / "my talk, \u00e4.wav"
    source = as_source(pasted.format(path=path, url=path.as_uri()))
    assert isinstance(source, FileSource)
    assert source.path == path


@pytest.mark.parametrize("literal", [" a.wav ", "'a'.wav", "it's.wav", "'.wav", "a#b?c%20.wav"])
def test_a_file_may_really_be_called_so(literal: str) -> None:
    source = as_source(literal)
    assert isinstance(source, FileSource)
    assert source.path == Path(literal)
    assert as_source(Path(f"'{literal}'")).path == Path(f"'{literal}'")  # type: ignore[attr-defined]
    by_url = as_source("file:///" + literal.strip().replace("%", "%25"))
    assert isinstance(by_url, FileSource)
    assert by_url.path == Path("/" + literal.strip())


async def test_a_file_address_of_another_machine_is_no_file_of_this_one() -> None:
    with pytest.raises(AudioError, match=r"There is no file '//server/share/talk.wav'"):
        await as_source("file://server/share/talk.wav").open()


def test_quotes_around_an_address_are_taken_off() -> None:
    for pasted in ('"http://127.0.0.1/radio"', "<http://127.0.0.1/radio>", " 'http://127.0.0.1/radio'\n"):
        assert isinstance(as_source(pasted), URLSource)


def test_an_app_that_others_use_reads_no_file_address() -> None:
    for address in ("file:///etc/passwd", "'file:///etc/passwd'", "file:/etc/passwd", "'/etc/passwd'"):
        with pytest.raises(ConfigurationError, match="refused"):
            as_source(address, shared=True)


def test_a_source_is_returned_unchanged() -> None:
    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            raise NotImplementedError

    mine = Mine()
    assert as_source(mine) is mine
    assert repr(mine) == "Mine('audio')"


def test_the_description_of_raw_audio_reaches_the_source() -> None:
    source = as_source("call.ulaw", encoding="mulaw", sample_rate=8000)
    assert isinstance(source, FileSource)
    assert source.format is not None
    assert source.format.encoding == "mulaw"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ftp://127.0.0.1/a", "other schemes are not read"),
        ("", "The source is empty"),
        (7, "not int"),
        (None, "not NoneType"),
        (["RIFF"], "A list of str is not a source"),
    ],
)
def test_any_other_input_is_refused_at_once(source: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_source(source)
