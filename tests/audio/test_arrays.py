"""Arrays, tensors and lists as sources."""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dgnb.audio import BufferSource, as_source
from dgnb.exceptions import ConfigurationError
from tests.support.samples import RATE, Samples, samples


async def heard(source: Any, **raw: Any) -> list[int]:
    """The samples of a mono source."""
    return (await samples(await as_source(source, **raw).open()))[:, 0].tolist()


async def test_an_array_of_integers_goes_through_unchanged(tone: Callable[..., Samples]) -> None:
    sound = tone(0.55)
    assert np.array_equal(await samples(await BufferSource(sound[:, 0], sample_rate=RATE).open()), sound)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
async def test_an_array_of_floats_is_scaled_and_clipped(dtype: str) -> None:
    source = BufferSource(np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.5]).astype(dtype), sample_rate=RATE)
    assert (await samples(await source.open()))[:, 0].tolist() == [0, 16384, -16384, 32767, -32768, 32767]


async def test_the_second_axis_of_an_array_is_its_channels(tone: Callable[..., Samples]) -> None:
    sound = tone(0.55, channels=2)
    source = BufferSource(sound, sample_rate=RATE)
    assert np.array_equal(await samples(await source.open(multichannel=True)), sound)
    assert (await samples(await source.open())).shape == (len(sound), 1)


async def test_an_array_of_another_byte_order_is_read_correctly(tone: Callable[..., Samples]) -> None:
    sound = tone(0.25)
    assert np.array_equal(await samples(await BufferSource(sound.astype(">i2"), sample_rate=RATE).open()), sound)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros(9), {}, "needs sample_rate"),
        (np.zeros(9), {"sample_rate": RATE, "encoding": "mulaw"}, "leave out encoding"),
        (np.zeros(0), {"sample_rate": RATE}, r"not \(0,\)"),
        (np.zeros((2, 2, 2)), {"sample_rate": RATE}, "of shape"),
        (np.array(1.0), {"sample_rate": RATE}, "of shape"),
        (np.zeros((21, 16_000)), {"sample_rate": RATE}, "at most 20 channels"),
        (np.zeros((16_000, 2)), {"sample_rate": RATE, "encoding": "linear16", "channels": 3}, "the channels 2, not 3"),
        (np.array([0.0, np.nan]), {"sample_rate": RATE}, "NaN or infinity"),
        (np.array([0.0, 20_000.0]), {"sample_rate": RATE}, "20000 times as loud. Divide it by its scale"),
        (np.array([0.0, -np.inf], "f4"), {"sample_rate": RATE}, "NaN or infinity"),
        (np.array([1j]), {"sample_rate": RATE}, "not complex128"),
        (np.zeros(9, bool), {"sample_rate": RATE}, "not bool"),
        (np.zeros(9, "uint64"), {"sample_rate": RATE}, "not uint64"),
        (np.zeros(9, "datetime64[s]"), {"sample_rate": RATE}, "not datetime64"),
        (np.array(["a"]), {"sample_rate": RATE}, "not <U1"),
        (np.array([0.1, None]), {"sample_rate": RATE}, "not object"),
        (np.array([0, 163_840]), {"sample_rate": RATE}, "5 times as loud"),
        (np.array([-(2**63)]), {"sample_rate": RATE}, "as loud. Divide it by its scale"),
        (np.array([0, 9000], "int32"), {"sample_rate": RATE}, r"\.astype\('int16'\)"),
    ],
)
def test_an_array_that_is_not_audio_is_refused_at_once(array: Samples, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BufferSource(array, **options)


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        ("int8", [0, 127, -128], [0, 32512, -32768]),
        ("uint8", [128, 255, 0], [0, 32512, -32768]),
        ("uint16", [32768, 65535, 0], [0, 32767, -32768]),
        ("int32", [0, 2**31 - 1, -(2**31)], [0, 32767, -32768]),
        (">i4", [0, 2**30, -(2**30)], [0, 16384, -16384]),
        ("uint32", [2**31, 2**32 - 1, 0], [0, 32767, -32768]),
        ("int64", [0, 32768, -32768], [0, 32767, -32768]),
    ],
)
async def test_the_width_of_integers_is_their_scale_as_in_a_wav_file(
    dtype: str, given: list[int], expected: list[int]
) -> None:
    assert await heard((RATE, np.array(given, dtype))) == expected


@pytest.mark.parametrize("channels", [1, 2, 20])
async def test_channels_may_come_first(channels: int) -> None:
    sound = np.random.default_rng(channels).integers(-9000, 9000, (4000, channels)).astype(np.int16)
    for given in (sound, sound.T):
        assert np.array_equal(await samples(await BufferSource((RATE, given)).open(multichannel=True)), sound)


async def test_an_array_comes_with_its_rate_as_other_libraries_give_it(tone: Callable[..., Samples]) -> None:
    sound = tone(0.3, 8000)
    pairs: list[Any] = [
        (8000, sound[:, 0]),
        [8000, sound],
        (sound, 8000),
        (sound.T, np.int64(8000)),
        (8000.0, sound[:, 0].tolist()),
    ]
    assert {len(await heard(pair)) for pair in pairs} == {4800}
    for again in (8000, 8000.0, "8000"):
        assert len(await heard(pairs[0], sample_rate=again)) == 4800
    with pytest.raises(ConfigurationError, match="given twice: 8000 and 16000"):
        as_source(pairs[0], sample_rate=RATE)


async def test_a_list_of_numbers_is_samples() -> None:
    floats = [0.0, 0.5, -0.5]
    for given in (floats, tuple(floats), deque(floats), array.array("f", floats), pd.Series(floats, index=[3, 1, 2])):
        assert await heard(given, sample_rate=RATE) == [0, 16384, -16384]
    assert await heard([0, 300, -300], sample_rate=RATE) == [0, 300, -300]
    assert await heard(range(0, 900, 300), sample_rate=RATE) == [0, 300, 600]
    assert await heard(array.array("h", [0, 300, -300]), sample_rate=RATE) == [0, 300, -300]
    both = await BufferSource([[1, 2], [3, 4]], sample_rate=RATE).open(multichannel=True)
    assert (await samples(both)).tolist() == [[1, 2], [3, 4]]


class Tensor:
    """What torch gives: its `__array__` refuses a tensor on a graphics card, or one of a computation."""

    def __init__(self, values: Samples, where: str = "gpu") -> None:
        self._values = values
        self._where = where
        self.dtype = "torch.float32"
        self.shape = values.shape

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return Tensor(self._values, "cpu")

    def numpy(self) -> Samples:
        if self._where != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        return self._values

    __array__ = numpy


class Brain(Tensor):
    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Samples:
        raise TypeError("Got unsupported ScalarType BFloat16")


class Exchanged:
    """Has nothing but the protocol for exchange."""

    def __init__(self, values: Samples) -> None:
        self._values = values

    def __dlpack__(self, **_: Any) -> Any:
        return self._values.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class OnlyNumpy:
    def __init__(self, values: Samples) -> None:
        self.numpy = lambda: values


@pytest.mark.parametrize("kind", [Tensor, Exchanged, OnlyNumpy])
async def test_a_tensor_is_an_array_wherever_it_lies(kind: Callable[[Samples], Any]) -> None:
    values = np.array([[0.0, 0.5, -0.5] * 10], np.float32)
    for given in (kind(values), kind(values[0])):
        assert await heard((given, RATE)) == [0, 16384, -16384] * 10
        assert await heard(given, sample_rate=RATE) == [0, 16384, -16384] * 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], r"not \(0,\)"),
        ((), r"not \(0,\)"),
        (["a.wav", "b.wav"], "A list of str is not a source. Pass one path at a time"),
        (("a.wav", 16_000), "A tuple of str is not a source"),
        ((np.zeros(9), None), r"A tuple of ndarray .* \(sample_rate, array\)"),
        ([np.zeros(9), np.zeros(9)], "Join chunks with np.concatenate, and channels with np.stack"),
        ([[0.1, 0.2], [0.3]], "can't be read as samples"),
        ([0.1, "a"], "A list of str is not a source"),
        ([0.1, 0.2, 0.3, "a"], "not <U"),
        ([0.1, None], "A list of NoneType is not a source"),
        ((RATE, np.zeros(9), 3), r"A tuple of ndarray .* \(sample_rate, array\)"),
        ((RATE, None), r"A tuple of NoneType .* \(sample_rate, array\)"),
        ((RATE, "a.wav"), r"A tuple of str .* \(sample_rate, array\)"),
        ([0.1, float("nan"), 0.2], "NaN or infinity"),
        ([1j, 2j, 3j], "A list of complex"),
        ((True, np.zeros(9)), "sample_rate is a positive whole number"),
        ((0, np.zeros(9)), "sample_rate is a positive whole number"),
        ((900_000, np.zeros(9)), "sample_rate is from 4000 to 384000"),
        ((-1.5, np.zeros(9)), "sample_rate is a positive whole number"),
        ((RATE, []), r"not \(0,\)"),
        ({"path": "a.wav"}, "not dict"),
        (Brain(np.zeros(9)), r"BFloat16\. Pass a NumPy array; of a tensor, \.float\(\)\.numpy\(\)"),
    ],
)
def test_what_is_no_samples_is_refused_with_what_to_do(source: Any, message: str) -> None:
    paired = isinstance(source, tuple) and any(isinstance(part, int | float) for part in source)
    with pytest.raises(ConfigurationError, match=message):
        as_source(source, **({} if paired else {"sample_rate": RATE}))
