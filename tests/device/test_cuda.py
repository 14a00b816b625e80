"""Every CUDA kernel: compiles for the GPUs of a decade, and does what its array form does."""

import numpy as np
import pytest
import scipy.ndimage

from picket_gpu.device.cuda import OPTIONS, SOURCE
from picket_gpu.device.operations import Draw, Operations, Scratch
from picket_gpu.method.features.ffts import FFTs, dft_matrices, magnitudes_by_fft
from tests.support.cubin import local_bytes
from tests.support.cuda_on_host import COMPILER, KERNELS, kernels_on_host
from tests.support.rounding import exact_magnitudes

SIDES = [3, 5, 7]
on_host = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to run kernels on the host")


@pytest.mark.parametrize(
    ("architecture", "side"),
    [
        *((a, side) for a in ("sm_80", "sm_90", "sm_100", "sm_120") for side in (*SIDES, 9)),
        ("sm_90", 27),  # whose filter is too large for constant memory
    ],
)
def test_kernels_compile(architecture, side):
    pytest.importorskip("cupy", reason="cupy brings NVRTC's interface")
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(SOURCE.read_text(), SOURCE.name, [], [])
    options = [*OPTIONS, f"-DSIDE={side}", f"--gpu-architecture={architecture}"]
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    binary = nvrtc.getCUBIN(program)
    assert all(name.encode() in binary for name in (*KERNELS, "FILTER"))
    local = local_bytes(binary)
    assert set(local) >= set(KERNELS)
    if side <= 9:  # all in registers
        assert not any(local.values())


@pytest.fixture
def arrays():
    return Operations(np, scipy.ndimage)


@pytest.fixture
def kernels():
    return kernels_on_host()


def test_each_operation_has_a_kernel():
    operations = {name for name in vars(Operations) if not name.startswith("_")}
    assert set(KERNELS) == operations - {"near_places", "lines", "box_lines"} | {"add_near"}


@on_host
@pytest.mark.parametrize("side", SIDES)
def test_box_windows(arrays, kernels, noise, side):
    box = (slice(1, 5), slice(2, 7), slice(3, 8))
    expected = arrays.box_windows(noise, box, side, Scratch(np))
    assert (kernels.box_windows(noise, box, side, Scratch(np)) == expected).all()


@on_host
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("plane", [-2, 0, 3])
def test_windows_at(arrays, kernels, noise, side, plane):
    grid = (8, 14 - side + 1, 15 - side + 1)
    inside = range(max(0, -plane), 13 - side + 1 - plane)  # planes of the grid in the slab
    first, last = inside.start * grid[1] * grid[2], min(8, inside.stop) * grid[1] * grid[2]
    index = np.sort(np.random.default_rng(0).integers(first, last, 300))
    expected = arrays.windows_at(noise, index, grid, plane, side, Scratch(np))
    result = kernels.windows_at(noise, index, grid, plane, side, Scratch(np))
    assert (result == expected).all()


@on_host
def test_windows_beyond_2_31_voxels(kernels, tmp_path):
    # A sparse file stands for 13 GB; only the voxels of a few windows are touched.
    rows, columns = 30_000, 36_000
    slab = np.memmap(tmp_path / "slab", np.float32, "w+", shape=(3, rows, columns))
    slab[2, rows - 3 :, columns - 3 :] = np.arange(9).reshape(3, 3)
    slab[0, rows - 1, columns - 2] = 7
    expected = slab[:, rows - 3 :, columns - 3 :].reshape(-1)
    box = (slice(0, 1), slice(rows - 3, rows - 2), slice(columns - 3, columns - 2))
    assert (kernels.box_windows(slab, box, 3, Scratch(np))[:-1, 0] == expected).all()
    grid = (1, rows - 2, columns - 2)
    last = np.array([grid[1] * grid[2] - 1])
    assert (kernels.windows_at(slab, last, grid, 0, 3, Scratch(np))[:-1, 0] == expected).all()


@on_host
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("count", "total"), [(1, 9), (7, 8), (500, 999), (3, 10**12), (10**8, 5 * 10**9)]
)
def test_draw(arrays, kernels, count, total, seed):
    draw = Draw(count, total, seed)
    for start in {0, max(0, count - 600)}:
        stop = min(start + 600, count)
        expected = arrays.draw(start, stop, draw)
        assert (kernels.draw(start, stop, draw) == expected).all()
        assert (draw.numbers(np.arange(start, stop)) == expected).all()


@on_host
@pytest.mark.parametrize("side", SIDES)
def test_magnitudes(arrays, kernels, side):
    rng, n = np.random.default_rng(0), 77
    lines = rng.standard_normal((side**2, side * n), dtype=np.float32)
    _, along, zero = (matrix.astype(np.float32) for matrix in dft_matrices(side))
    exact, error = exact_magnitudes(lines, side, 0.7)
    for operations in (arrays, kernels):
        result = operations.magnitudes(lines, along, zero, 0.7, Scratch(np))
        assert result.shape == ((side**3 + 1) // 2 + 1, n)
        assert (abs(result - exact) <= error).all()


@on_host
@pytest.mark.parametrize("side", [*SIDES, 9, 11])
def test_magnitudes_are_those_of_an_fft(kernels, side):
    windows = np.ones((side**3 + 1, 50), dtype=np.float32)
    windows[:-1] = np.random.default_rng(1).standard_normal((side**3, 50))
    expected = magnitudes_by_fft(np, windows.astype(np.float64), side, 0.3)
    result = FFTs().extractor(kernels, side, 0.3).of_windows(windows, Scratch(np))
    # float32 sums of side**3 numbers of size one.
    np.testing.assert_allclose(result, expected, atol=side**3 * np.finfo(np.float32).eps)


@on_host
@pytest.mark.parametrize("side", SIDES)
def test_magnitudes_of_a_box(arrays, kernels, noise, side):
    box = (slice(1, 5), slice(2, 7), slice(3, 8))
    expected = FFTs().extractor(arrays, side, 0.3).of_box(noise, box, Scratch(np))
    result = FFTs().extractor(kernels, side, 0.3).of_box(noise, box, Scratch(np))
    np.testing.assert_allclose(result, expected, atol=side**3 * np.finfo(np.float32).eps)


@on_host
@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_responsibilities_and_sums_of_squares(arrays, kernels, scale):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((333, 48), dtype=np.float32)
    product = np.float32(scale) * rng.standard_normal((333, 48), dtype=np.float32)
    weights = product[0].copy()
    sums = (z.astype(np.float64) ** 2) @ weights
    for which in (arrays, kernels):
        result = which.sums_of_squares(z, weights, Scratch(np))
        np.testing.assert_allclose(result, sums, rtol=1e-4, atol=1e-4 * scale)
    weighted = product.copy()
    entropy = kernels.responsibilities(z, weighted, Scratch(np))
    expected = arrays.responsibilities(z, product, Scratch(np))
    np.testing.assert_allclose(entropy, expected, atol=2e-5)
    np.testing.assert_allclose(weighted, product, atol=2e-5 * np.abs(z).max())


@pytest.mark.parametrize("which", ["arrays", pytest.param("kernels", marks=on_host)])
def test_responsibilities_by_formula(request, which):
    rng = np.random.default_rng(0)
    z, product = rng.standard_normal((2, 200, 16)).astype(np.float32)
    odds = (z.astype(np.float64) * product).sum(axis=1)
    r = 1 / (1 + np.exp(-odds))
    entropy = -(r * np.log(r) + (1 - r) * np.log1p(-r))
    result = request.getfixturevalue(which).responsibilities(z, product, Scratch(np))
    np.testing.assert_allclose(result, entropy, atol=1e-5)
    np.testing.assert_allclose(product, np.sqrt(r)[:, None] * z, atol=1e-5)


@on_host
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("depth", [1, 15, 16, 17, 40])
def test_label_by_plane(arrays, kernels, side, depth):
    rng, half = np.random.default_rng(side), side // 2
    slab = rng.standard_normal((depth + side - 1, side + 30, side + 8), dtype=np.float32)
    plane = rng.standard_normal(side**3 + 1)
    expected, result = (np.full(slab.shape, -1, dtype=np.int8) for _ in "ab")
    inside = (slice(half, -half),) * 3
    arrays.label_by_plane(slab, plane, side, expected[inside])
    kernels.label_by_plane(slab, plane, side, result[inside])
    border = np.ones(slab.shape, dtype=bool)
    border[inside] = False
    assert (result[border] == -1).all()
    assert 0.05 < (expected[inside] == 1).mean() < 0.95
    assert (result == expected).mean() >= 0.999  # rounding, where a window is on the plane
    windows = np.lib.stride_tricks.sliding_window_view(slab.astype(np.float64), (side,) * 3)
    margin = windows.reshape(*windows.shape[:3], -1) @ plane[:-1] + plane[-1]
    clear = abs(margin) > 1e-4
    assert (result[inside][clear] == (margin > 0)[clear]).all()


@pytest.mark.parametrize("which", ["arrays", pytest.param("kernels", marks=on_host)])
def test_near_places(request, which):
    margin = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    near = request.getfixturevalue(which).near_places(200)
    near.add(margin[500:], 0.1, 500)  # tiles may come in any order
    near.add(margin[:500], 0.1, 0)
    places = near.finish(np.asarray)
    assert (places == np.flatnonzero(abs(margin) <= np.float32(0.1))).all()
    assert near.found == len(places) > 50


@pytest.mark.parametrize("which", ["arrays", pytest.param("kernels", marks=on_host)])
def test_near_places_beyond_the_capacity_are_left_out(request, which):
    near = request.getfixturevalue(which).near_places(30)
    near.add(np.zeros(100, dtype=np.float32), 0.1, 0)
    places = near.finish(np.asarray)
    assert len(places) == 30
    assert near.found == 100
    assert len(set(places.tolist()) & set(range(100))) == 30
