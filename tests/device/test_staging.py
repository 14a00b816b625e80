"""Staging on streams that do everything as late as they may: when somebody waits for it."""

import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from picket_gpu.device.gpu_memory import PinnedArrays, Staging


class Event:
    def __init__(self, stream):
        self._stream, self._number = stream, stream.begun

    def synchronize(self):
        self._stream.run(self._number)


class LateStream:
    def __init__(self, non_blocking=False):
        self._work, self._done, self.begun = [], 0, 0

    def add(self, work):
        self._work.append(work)
        self.begun += 1

    def run(self, number):
        while self._done < number:
            self._done += 1
            self._work.pop(0)()

    def record(self):
        return Event(self)

    def wait_event(self, event):
        self.add(event.synchronize)


class Device(np.ndarray):
    """An array whose transfers are left to a stream."""

    def set(self, array, stream):
        assert array.shape == self.shape
        assert array.dtype == self.dtype
        stream.add(lambda: np.copyto(self, array))

    def get(self, stream, out, blocking):
        assert not blocking
        assert out.shape == self.shape
        assert out.dtype == self.dtype
        this = weakref.ref(self)  # the stream keeps nobody's memory
        stream.add(lambda: np.copyto(out, this()))


def device_empty(shape, dtype):
    return np.zeros(shape, dtype).view(Device)


class Small(Staging):
    buffers, buffer_bytes, at_once = 4, 64, 128


@pytest.fixture
def kernels():
    return LateStream()


@pytest.fixture
def staging(kernels):
    cuda = SimpleNamespace(Stream=LateStream, get_current_stream=lambda: kernels)
    cupy = SimpleNamespace(cuda=cuda, empty=device_empty)
    return Small(cupy, lambda shape: np.full(shape, np.nan, dtype=np.float32))


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (7, 11, 13), (64,)])
def test_what_goes_up_arrives(staging, kernels, shape, dtype):
    rng = np.random.default_rng(0)
    sent = [(100 * rng.random(shape)).astype(dtype) for _ in range(3)]
    there = [staging.upload(array.copy()) for array in sent]
    kernels.run(kernels.begun)
    for array, arrived in zip(sent, there, strict=True):
        assert arrived.dtype == array.dtype
        assert (arrived == array).all()


@pytest.mark.parametrize("dtype", ["int8", "float16"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_what_comes_down_is_what_was_computed_last(staging, kernels, size, dtype):
    rng = np.random.default_rng(0)
    results = [(100 * rng.random(size)).astype(dtype) for _ in range(5)]
    out = [np.zeros(size, dtype) for _ in results]
    for result, target in zip(results, out, strict=True):
        array = device_empty(size, dtype)
        kernels.add(lambda array=array, result=result: np.copyto(array, result))
        staging.begin_download(array, target)
    staging.finish_downloads()
    assert (np.array(out) == results).all()


def test_up_and_down_share_the_buffers(staging, kernels):
    sent, out = np.arange(100, dtype=np.float32), np.zeros(100, dtype=np.float32)
    there = staging.upload(sent)
    staging.begin_download(there, out)
    more = staging.upload(-sent)
    staging.finish_downloads()
    kernels.run(kernels.begun)
    assert (out == sent).all()
    assert (more == -sent).all()


def test_the_host_does_not_wait_for_what_fits_the_buffers(staging, kernels):
    array = device_empty(Small.at_once, "int8")
    kernels.add(lambda: pytest.fail("the host waited for a kernel"))
    staging.begin_download(array, np.zeros(Small.at_once, dtype=np.int8))


def test_arrays_on_their_way_are_kept(staging):
    out = np.zeros(64, dtype=np.int8)
    array = device_empty(64, "int8")
    array[...] = 7
    staging.begin_download(array, out)
    del array
    staging.finish_downloads()
    assert (out == 7).all()
    assert all(buffer.source is None for buffer in staging._buffers)


class Memory(bytearray):
    sizes = ()

    def __init__(self, size):
        super().__init__(size)
        Memory.sizes += (size,)


def test_pinned_memory_is_used_again():
    Memory.sizes = ()
    cuda = SimpleNamespace(PinnedMemory=Memory, PinnedMemoryPointer=lambda memory, offset: memory)
    pinned = PinnedArrays(SimpleNamespace(cuda=cuda))
    volume = pinned.empty(100).reshape(10, 10)
    view = volume[3:5]
    del volume
    view[...] = 7
    assert (pinned.empty(90) != 7).all()  # the view is still somebody's
    del view
    assert Memory.sizes == (400, 360)
    assert pinned.empty(100).size == 100
    assert pinned.empty(60).size == 60
    assert Memory.sizes == (400, 360)
    small = pinned.empty(10)
    assert Memory.sizes == (400, 360, 40)
    assert pinned.empty(1000).size == 1000
    assert Memory.sizes == (400, 360, 40, 4000)
    assert small.size == 10
