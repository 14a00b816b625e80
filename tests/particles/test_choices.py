"""Answers of a person: the model, what it ranks, its file, and the commands that use it."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picket_gpu import run_s1
from picket_gpu.device.select import select_backend
from picket_gpu.errors import PicketError
from picket_gpu.particles.candidates import Candidates
from picket_gpu.particles.choices import LEAST, Answers, answers_in, probabilities, read_choices
from picket_gpu.particles.descriptors import DIRECTIONS, HEIGHT, describe, standardised
from picket_gpu.particles.files import read_metadata, read_with_candidates
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.pool import Pool
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.particles.threshold import otsu
from picket_gpu.pick import main
from picket_gpu.report.picked import describe_picked
from picket_gpu.run.dataset import update_lists
from picket_gpu.run.repick import with_choices
from tests.support.command_line import called, snapshot, the_error
from tests.support.data import DATA

MODEL = DATA / "choices_model.json"
STEM = "particles_{}_intensities_gmm"
LIST = "particles_intensities_gmm.csv"


DATA_IN_PAGE = re.compile(r'id="data">(.*?)</script>')


# The model.


def by_hand(x: np.ndarray, m: np.ndarray, answered: dict[int, bool], ground: list[int]):
    """f as the contract of page and command has it, number by number, by another solver."""
    used = [*answered, *(rank for rank in ground if rank not in answered)]
    y = [2.0 if answered.get(rank) else -2.0 for rank in used]

    def k(a, b):
        return 9 * np.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / 46) + 9

    left = np.array([[k(x[i], x[j]) + (i == j) for j in used] for i in used])
    weights = np.linalg.lstsq(left, np.array([v - m[i] for i, v in zip(used, y, strict=True)]))[0]
    return np.array(
        [
            m[i] + sum(k(x[i], x[j]) * w for j, w in zip(used, weights, strict=True))
            for i in range(len(m))
        ]
    )


def in_the_page(count: int) -> list[int]:
    """Ranks of the candidates that count as bad from the start."""
    half = count // 2
    return [int(half + (i + 0.5) * (count - half) / 10) for i in range(10)]


def learned(x, m, answered, ground) -> Answers:
    used = [*answered, *(rank for rank in ground if rank not in answered)]
    wanted = np.array([2.0 if answered.get(rank) else -2.0 for rank in used])
    return Answers(x[used], m[used], wanted, len(answered))


def test_the_model_is_the_one_that_the_page_is_tested_by():
    golden = json.loads(MODEL.read_text())
    x, m = np.array(golden["units"]) / 8000, np.array(golden["m"])
    answered = {one["rank"]: one["good"] for one in golden["answers"]}
    assert golden["background"] == in_the_page(len(m))
    assert {*answered} & {*golden["background"]}  # an answered one counts as answered only
    f = learned(x, m, answered, golden["background"]).odds(x, m)
    np.testing.assert_allclose(f, by_hand(x, m, answered, golden["background"]), atol=1e-9)
    np.testing.assert_allclose(f, golden["f"], atol=1e-9)
    np.testing.assert_allclose(probabilities(f), 1 / (1 + np.exp(-f)), rtol=1e-12)
    np.testing.assert_allclose(probabilities(f), golden["p"], atol=1e-9)
    assert otsu(probabilities(f)) == pytest.approx(golden["threshold"], abs=1e-9)


def test_odds_do_not_depend_on_how_many_are_ranked_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    x, m = rng.standard_normal((50, 23)), rng.standard_normal(50)
    model = learned(x, m, dict.fromkeys(range(6), True), [40, 45])
    once = model.odds(x, m)
    monkeypatch.setattr("picket_gpu.particles.choices.ROWS", 7)
    np.testing.assert_allclose(model.odds(x, m), once, rtol=1e-13)


def test_probabilities_of_extreme_odds_are_0_and_1_without_a_warning():
    assert probabilities(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


# Descriptors.


def test_numbers_are_standardised_cut_and_whole_units():
    rng = np.random.default_rng(0)
    raw, heights = rng.standard_normal((200, 22)).astype(np.float32), rng.standard_normal(200)
    raw[0, 3], raw[:, 5] = 1e6, 3.0
    x = standardised(raw, heights)
    assert x.shape == (200, 23)
    np.testing.assert_allclose(x[:, HEIGHT], (heights - heights.mean()) / heights.std(), atol=1e-4)
    assert x[0, 3] == 4.0
    assert not x[:, 5].any()  # alike in all
    assert (
        np.array_equal(np.rint(8000 * x), 8000 * x)
        or np.abs(8000 * x - np.rint(8000 * x)).max() < 1e-9
    )
    assert np.abs(np.rint(8000 * x)).max() <= 32000  # 16 bits


def ball(shape, centre, axes):
    z, y, x = np.indices(shape)
    inside = sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, axes, strict=True))
    return np.clip(2.5 * (1 - np.sqrt(inside)) + 0.5, 0, 1).astype(np.float32)


def test_a_descriptor_tells_profile_and_shape():
    shape, backend = (40, 40, 80), select_backend("cpu")
    volume = ball(shape, (20, 20, 20), (6, 6, 6)) + ball(shape, (20, 20.5, 60.3), (3, 3, 9))
    points = np.array([[20, 20, 20], [20, 20.5, 60.3]])
    found = describe(
        points, np.full(2, 12.0), np.array([[0.5, 0.6], [0.2, 0.3]]), (1, 1, 1), volume, backend
    )
    assert found.shape == (2, 22)
    assert found.dtype == np.float32
    sphere, rod = found
    assert sphere[0] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(sphere[[2, 5, 8]], [1, 0.5, 0], atol=0.01)
    assert sphere[10] == pytest.approx(0, abs=1e-6)
    assert sphere[11] < 0.02 < 0.5 < rod[11]  # the rod is long one way
    assert rod[12] < 0.02  # and alike in the two others
    assert sphere[20:22].tolist() == pytest.approx([0.2, 0.5])  # heights: tomogram, scores


def test_a_descriptor_does_not_depend_on_chunks_threads_or_turns():
    rng = np.random.default_rng(1)
    volume = rng.standard_normal((30, 32, 34)).astype(np.float32)
    points = rng.uniform(-0.4, 29.4, (150, 3))
    told = np.full(150, 8.0), np.zeros((1, 150)), (1.0, 1.0, 1.0)
    whole = describe(points, *told, volume, select_backend("cpu"))
    alone = [
        describe(p[None], *(a[..., :1] for a in told[:2]), told[2], volume, select_backend("cpu"))
        for p in points[:9]
    ]
    np.testing.assert_allclose(whole[:9], np.concatenate(alone), rtol=1e-5, atol=1e-6)
    # A quarter turn keeps voxels; directions are others, and a mean over 96 of them errs a little.
    smooth = ball((30, 30, 30), (15, 15, 15), (5, 5, 5))
    turned = describe(
        points[:9], np.full(9, 8.0), np.zeros((1, 9)), told[2], smooth, select_backend("cpu")
    )
    back = points[:9].copy()
    back[:, [1, 2]] = np.stack([points[:9, 2], 29 - points[:9, 1]], axis=1)
    again = describe(
        back,
        np.full(9, 8.0),
        np.zeros((1, 9)),
        told[2],
        np.rot90(smooth, -1, (1, 2)).copy(),
        select_backend("cpu"),
    )
    np.testing.assert_allclose(turned[:, :11], again[:, :11], atol=0.05)


def test_several_voxels_of_anisotropic_size_keep_the_sphere():
    backend = select_backend("cpu")
    volume = ball((20, 40, 40), (10, 20, 20), (3, 6, 6))
    (found,) = describe(
        np.array([[10.0, 20, 20]]),
        np.array([12.0]),
        np.zeros((1, 1)),
        (2.0, 1.0, 1.0),
        volume,
        backend,
    )
    assert found[11] < 0.1
    assert DIRECTIONS == 96


def test_a_device_gives_the_same_descriptors_and_one_transfer_for_a_chunk():
    double = pytest.importorskip("tests.support.device_double", exc_type=ImportError)
    rng = np.random.default_rng(2)
    volume = rng.standard_normal((24, 26, 28)).astype(np.float32)
    points = rng.uniform(0, 23, (300, 3))
    told = points, rng.uniform(6, 9, 300), rng.standard_normal((2, 300)), (1.0, 1.0, 1.5)
    device = double.DeviceDouble()
    device.tile_bytes = 2**22
    with double.DeviceArray.counting() as memory:
        found = describe(*told, device.upload(volume), device)
    host = describe(*told, volume, select_backend("cpu"))
    np.testing.assert_allclose(found, host, rtol=1e-5, atol=1e-6)
    # A streamed tomogram stays in host memory.
    np.testing.assert_allclose(describe(*told, volume, device), host, rtol=1e-5, atol=1e-6)
    assert memory["peak"] < volume.nbytes + device.tile_bytes


# What answers do to candidates.


def pool_of(n: int = 40, answers: Answers | None = None, voxel_size=(1.0, 1.0, 1.0)) -> Pool:
    """Candidates in a row, 10 apart, the first the highest, of a diameter of 10."""
    rng = np.random.default_rng(3)
    points = np.stack([np.full(n, 5.0), np.full(n, 5.0), 10.0 * np.arange(n)], axis=1)
    candidates = Candidates(
        points,
        np.full(n, 10.0),
        np.linspace(1, 0.1, n)[None],
        np.zeros(n, np.int8),
        voxel_size,
        descriptors=rng.standard_normal((n, 22)).astype(np.float32),
    )
    none = np.zeros(n, dtype=bool)
    return Pool.of(candidates, none, none, "0" * 32, answers)


def answers_at(pool: Pool, places: dict[tuple[float, float, float], bool], model: bool) -> Answers:
    """Answers at places; with a model that has seen enough of them, or without."""
    ranked = pool.free.ranked(pool.scale)
    x = pool.looks(ranked)
    used = [0, 3, 5, 20, 30] if model else [0]
    wanted = np.array([2.0, 2.0, -2.0, -2.0, -2.0][: len(used)])
    points = np.array([*places], float).reshape(-1, 3)
    return Answers(
        x[used], ranked.heights[used], wanted, len(used), points, np.array([*places.values()], bool)
    )


@pytest.mark.parametrize("model", [True, False], ids=["ranked by answers", "too few answers"])
def test_answered_ones_are_as_answered(model):
    plain = pool_of()
    bad, good, new = (5, 5, 10), (5, 5, 390), (5, 25, 100)
    answers = answers_at(plain, {bad: False, good: True, new: True}, model)
    picks = replace(plain, answers=answers).choose({})
    picked = {tuple(point) for point in picks.coordinates.tolist()}
    assert good in picked
    assert new in picked
    assert bad not in picked
    assert bad not in {tuple(point) for point in picks.candidates.tolist()}
    assert (np.diff(picks.candidate_heights) <= 0).all()
    assert (picks.heights >= picks.threshold).all()
    if model:
        assert picks.candidate_heights.min() >= 0
        assert picks.candidate_heights.max() <= 1
    else:
        assert picks.threshold == plain.scale.threshold


@pytest.mark.parametrize("model", [True, False], ids=["ranked by answers", "too few answers"])
def test_good_ones_are_among_the_greatest_number(model):
    plain = pool_of()
    bad, good, new = (5, 5, 10), (5, 5, 390), (5, 25, 100)
    answers = answers_at(plain, {bad: False, good: True, new: True}, model)
    pool = replace(plain, answers=answers)
    every = [tuple(point) for point in pool.choose({"threshold": 0}).coordinates.tolist()]
    others = [point for point in every if point not in (good, new)]
    for number in (1, 2, 3, 5, 39, 100):
        picks = pool.choose({"threshold": 0, "max_particles": number})
        found = [tuple(point) for point in picks.coordinates.tolist()]
        wanted = {good, new, *others[: max(0, number - 2)]}
        assert len(found) == min(number, len(wanted))
        assert {*found} <= wanted


def test_an_added_place_takes_the_place_of_what_is_too_near():
    plain = pool_of()
    place = (5, 8, 104)  # 5 from the candidate at 100, and 6.7 from that at 110
    picks = replace(plain, answers=answers_at(plain, {place: True}, True)).choose({"threshold": 0})
    found = {tuple(point) for point in picks.coordinates.tolist()}
    assert place in found
    assert (5, 5, 100) not in found
    assert (5, 5, 110) not in found
    assert len(found) == 39


def test_candidates_that_may_not_be_picked_are_not_by_an_answer():
    plain = pool_of()
    answers = answers_at(plain, {(5, 5, 50): True, (5, 5, 60): True}, True)
    excluded = np.arange(40) == 5
    picks = replace(plain, excluded=excluded, answers=answers).choose({})
    found = {tuple(point) for point in picks.coordinates.tolist()}
    assert (5, 5, 50) not in found
    assert (5, 5, 60) in found


def test_thresholds_are_of_probabilities():
    plain = pool_of()
    pool = replace(plain, answers=answers_at(plain, {}, True))
    p = pool.ranked().heights
    assert pool.choose({"threshold": "auto"}).threshold == otsu(p)
    assert pool.choose({"threshold": 0.7}).count == np.count_nonzero(p >= 0.7)
    most = pool.choose({"threshold": 0.1, "max_height": 0.7})
    assert most.first == np.count_nonzero(p > 0.7)
    assert most.count == np.count_nonzero((p >= 0.1) & (p <= 0.7))
    assert pool.choose({"threshold": 0.0, "max_particles": 3}).count == 3
    kept = replace(pool, answers=answers_at(plain, {(5, 5, 0): True}, True))
    limited = kept.choose({"threshold": 0.1, "max_height": 0.4})
    assert (5, 5, 0) in {tuple(point) for point in limited.coordinates.tolist()}


def test_candidates_without_descriptors_are_not_ranked_by_answers():
    plain = pool_of()
    bare = replace(plain, candidates=replace(plain.candidates, descriptors=None))
    with pytest.raises(ValueError, match="no descriptors"):
        replace(bare, answers=answers_at(plain, {}, True)).choose({})


# The file.


def choices(tmp_path: Path, content: dict | str) -> Path:
    path = tmp_path / "mia's choices.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def content(**changes) -> dict:
    return {
        "format": "picket_gpu choices",
        "version": 1,
        "picking": {"mode": "gabor", "method": "gmm", "name": None, "diameter": 100.0},
        "tomograms": [],
    } | changes


def tomogram(*answers: dict, **changes) -> dict:
    return {
        "index": 0,
        "name": "t.mrc",
        "path": "t.mrc",
        "answers": [*answers],
        "background": [],
    } | changes


GOOD = {"z": 1.0, "y": 2.0, "x": 3.0, "good": True, "m": 0.5, "descriptor": [0.0] * 23}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("{", ("cannot be read", "save it again")),
        ("[1]", ("is not a file of choices",)),
        (content(format="points"), ("is not a file of choices",)),
        (content(version=2), ("version", "must be 1", "got 2")),
        (
            content(tomograms=[tomogram(GOOD | {"m": None})]),
            ("tomograms[0].answers[0]", "m and descriptor"),
        ),
        (
            content(tomograms=[tomogram(GOOD | {"descriptor": [0.0] * 22})]),
            ("answers[0].descriptor", "23"),
        ),
        (content(tomograms=[tomogram(GOOD | {"good": 1})]), ("answers[0].good",)),
        (content(tomograms=[tomogram(GOOD | {"z": "1"})]), ("answers[0].z",)),
        (content(tomograms=[tomogram(GOOD | {"m": float("nan")})]), ("answers[0].m", "finite")),
        (content(picking={}), ("picking.mode",)),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, wrong, words):
    path = choices(tmp_path, wrong)
    with pytest.raises(PicketError) as caught:
        read_choices(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_numbers_without_a_point_are_read(tmp_path):
    whole = {"z": 1, "y": 2, "x": 3, "good": True, "m": 1, "descriptor": [0, -1] + [0.5] * 21}
    file = content(tomograms=[tomogram(whole, background=[{"m": 0, "descriptor": [0] * 23}])])
    file["picking"]["diameter"] = 100
    (answer,) = read_choices(choices(tmp_path, file)).tomograms[0].answers
    assert answer.example.descriptor[:2] == [0, -1]


def test_an_answered_candidate_of_the_background_counts_as_answered_only(finished):
    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    ground = [
        {"m": GOOD["m"], "descriptor": GOOD["descriptor"]},
        {"m": -1.0, "descriptor": [1.0] * 23},
    ]
    found = answers_in([model(content(tomograms=[tomogram(GOOD, background=ground)]))], particles)
    assert found.count == 1
    assert found.wanted.tolist() == [2.0, -2.0]


def test_a_candidate_counts_once_however_many_files_answer_it(finished):
    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    ground = [{"m": -1.0, "descriptor": [1.0] * 23}]
    other = GOOD | {"x": 9.0, "m": -1.0, "descriptor": [1.0] * 23}
    first = model(content(tomograms=[tomogram(GOOD, name=particles.name, background=ground)]))

    def read(*files):
        found = answers_in(files, particles)
        return found.count, found.wanted.tolist(), found.good.tolist()

    assert read(first) == read(first, first) == (1, [2.0, -2.0], [True])
    moved = tomogram(GOOD, name=particles.name, path="elsewhere.mrc", background=ground)
    assert read(first, model(content(tomograms=[moved]))) == read(first)
    # The last answer holds for the model too, and what is answered is no background.
    changed = tomogram(GOOD | {"good": False}, name=particles.name)
    assert read(first, model(content(tomograms=[changed]))) == (1, [-2.0, -2.0], [False])
    good = tomogram(other, name=particles.name)
    assert read(first, model(content(tomograms=[good]))) == (2, [2.0, 2.0], [True, True])
    # The same place in another tomogram is another one.
    assert read(first, model(content(tomograms=[tomogram(GOOD, name="u.mrc")])))[0] == 2


def test_answers_outside_the_tomogram_are_of_another(finished):
    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    end = particles.shape[0] + 0.0
    for z, is_inside in ((-1.0, True), (-1.1, False), (end, True), (end + 0.1, False)):
        files = [model(content(tomograms=[tomogram(GOOD | {"z": z}, name=particles.name)]))]
        if is_inside:
            assert answers_in(files, particles).points[0, 0] == z
        else:
            with pytest.raises(PicketError, match=f"for {particles.name} is at z {z:.1f}, "):
                answers_in(files, particles)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PicketError, match=r"none\.json: no such file of choices"):
        read_choices(tmp_path / "none.json")


# Commands.


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over two halves of the phantom, with a page each."""
    directory = tmp_path_factory.mktemp("choices")
    phantom = mrcfile.read(DATA / "phantom_a.mrc")
    for number in range(2):
        half = phantom[:, :, number * phantom.shape[2] // 2 :][:, :, : phantom.shape[2] // 2]
        mrcfile.write(directory / f"half{number}.mrc", half, voxel_size=13.48)
    run_s1(config(directory, directory), quiet=True)
    return directory


def config(inputs: Path, directory: Path, **particles) -> dict:
    return {
        "dataset_name": "set",
        "inputs": [{"tomogram": str(inputs / f"half{number}.mrc")} for number in range(2)],
        "output_dir": str(directory),
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["gmm"],
        "particles": {"diameter": 140.0} | particles,
        "device": "cpu",
    }


@pytest.fixture
def place(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def answered(place: Path, ranks: dict[int, bool], added: tuple = (), index: int = 0) -> Path:
    """A file of choices as a page of one tomogram saves it."""
    particles = read_with_candidates(place / "set" / f"{STEM.format(index)}.npz")
    pool = particles.pool
    ranked = pool.free.ranked(pool.scale)
    x = pool.looks(ranked)
    ground = [rank for rank in in_the_page(len(x)) if rank not in ranks]

    def example(rank):
        return {"m": ranked.heights[rank], "descriptor": x[rank].tolist()}

    def at(point):
        return dict(zip("zyx", map(float, point), strict=True))

    answers = [
        at(ranked.points[rank]) | {"good": good} | example(rank) for rank, good in ranks.items()
    ]
    answers += [at(point) | {"good": True} for point in added]
    own = tomogram(
        *answers,
        index=index,
        name=particles.name,
        path=str(particles.tomogram),
        background=[example(rank) for rank in ground],
    )
    about = {"mode": "intensities", "method": "gmm", "name": None, "diameter": 140.0}
    return choices(place, content(picking=about, tomograms=[own]))


RANKS = {0: True, 1: True, 2: False, 3: True, 20: False, 40: False, 45: False}


command = partial(called, main)


def expected(place: Path, file: Path, index: int) -> np.ndarray:
    """Places picked in a tomogram by the contract, from what the run had kept."""
    particles = read_with_candidates(place / "set" / f"{STEM.format(index)}.npz")
    pool = replace(particles.pool, answers=None)
    ranked = pool.free.ranked(pool.scale)
    x, told = pool.looks(ranked), json.loads(file.read_text())["tomograms"][0]
    rows = [
        (a["descriptor"], a["m"], 2.0 if a["good"] else -2.0) for a in told["answers"] if "m" in a
    ]
    rows += [(b["descriptor"], b["m"], -2.0) for b in told["background"]]
    a, m, y = (np.array(column) for column in zip(*rows, strict=True))
    k = lambda p, q: 9 * np.exp(-((p[:, None] - q[None]) ** 2).sum(axis=2) / 46) + 9  # noqa: E731
    f = ranked.heights + k(x, a) @ np.linalg.solve(k(a, a) + np.eye(len(a)), y - m)
    p = 1 / (1 + np.exp(-f))
    keep = p >= otsu(p)
    if told["index"] == index:
        for rank, good in RANKS.items():
            keep[rank] = good
    return ranked.points[keep]


def in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T)]


def test_the_command_ranks_all_tomograms_by_the_answers_in_one(place):
    file = answered(place, RANKS)
    wanted = [expected(place, file, index) for index in range(2)]
    done = command(place / "set", "--choices", file)
    assert done.returncode == 2
    assert "choices: none before, 7 answers now" in the_error(done.stderr)
    assert "--overwrite" in done.stderr
    done = command(place / "set", "--choices", file, "--overwrite")
    assert done.returncode == 0, done.stderr
    for index in range(2):
        table = CSV.read(place / "set" / f"{STEM.format(index)}.csv")
        np.testing.assert_allclose(
            in_order(table[:, [6, 5, 4]]), in_order(wanted[index]), atol=1e-9
        )
        assert table[:, 3].min() >= 0
        assert table[:, 3].max() <= 1
    text = (place / "set" / LIST).read_text().splitlines()
    assert len(text) == 1 + sum(map(len, wanted))
    found = read_metadata(place / "set" / f"{STEM.format(0)}.yaml")
    assert found["settings"]["choices"] == [str(file)]
    assert found["settings"]["answers"]["count"] == 7


def test_lists_are_made_again_without_the_file(place):
    file = answered(place, RANKS)
    assert (
        command(
            place / "set", "--choices", file, "--overwrite", "--threshold", "dataset"
        ).returncode
        == 0
    )
    before = (place / "set" / LIST).read_text()
    kept = [read_with_candidates(place / "set" / f"{STEM.format(n)}.npz") for n in range(2)]
    assert (
        kept[0].threshold
        == kept[1].threshold
        == otsu(np.concatenate([one.pool.ranked().heights for one in kept]))
    )
    file.unlink()
    for path in (place / "set").glob("particles_intensities*"):
        path.unlink()
    update = update_lists(place / "set")
    assert not update.changed
    assert (place / "set" / LIST).read_text() == before


def test_the_same_answers_again_change_nothing_and_others_need_overwrite(place):
    file = answered(place, RANKS)
    assert command(place / "set", "--choices", file, "--overwrite").returncode == 0
    table = place / "set" / f"{STEM.format(0)}.csv"
    stamp = table.stat().st_mtime_ns
    moved = file.rename(place / "moved.json")
    again = command(place / "set", "--choices", moved)
    assert again.returncode == 0
    assert "picked earlier" in again.stdout
    assert table.stat().st_mtime_ns == stamp
    other = answered(place, RANKS | {6: True})
    done = command(place / "set", "--choices", other)
    assert done.returncode == 2
    assert "choices: 7 answers before, 8 answers now" in done.stderr
    assert table.stat().st_mtime_ns == stamp


def test_a_run_takes_choices_and_resumes(finished, place):
    file = answered(place, RANKS)
    wanted = [expected(place, file, index) for index in range(2)]
    told = config(finished, place, choices=str(file))
    with pytest.raises(PicketError, match="--overwrite-particles"):
        run_s1(told, quiet=True)
    run = run_s1(told, quiet=True, overwrite_particles=True)
    for one, points in zip(run.particles, wanted, strict=True):
        np.testing.assert_allclose(in_order(one.coordinates), in_order(points), atol=1e-9)
    assert run.particles[0].settings["answers"]["count"] == 7
    again = run_s1(told, quiet=True)
    assert all(one.reused for one in again.particles)
    assert [one.count for one in again.particles] == [one.count for one in run.particles]


def test_added_places_are_in_the_files(place):
    new = (3.0, 3.0, 3.0)
    file = answered(place, RANKS, added=(new,))
    assert command(place / "set", "--choices", file, "--overwrite").returncode == 0
    table = CSV.read(place / "set" / f"{STEM.format(0)}.csv")
    assert new in {tuple(row) for row in table[:, [6, 5, 4]].tolist()}
    assert new not in {
        tuple(row)
        for row in CSV.read(place / "set" / f"{STEM.format(1)}.csv")[:, [6, 5, 4]].tolist()
    }


def test_a_list_of_its_own_is_made_beside_the_first(place):
    file = answered(place, RANKS)
    first = (place / "set" / LIST).read_text()
    done = command(place / "set", "--choices", file, "--name", "ranked")
    assert done.returncode == 0, done.stderr
    assert (place / "set" / LIST).read_text() == first
    table = CSV.read(place / "set" / f"{STEM.format(1)}_ranked.csv")
    wanted = in_order(expected(place, file, 1))
    np.testing.assert_allclose(in_order(table[:, [6, 5, 4]]), wanted, atol=1e-9)
    page = (place / "set" / "report_1.html").read_text()
    told = {one["name"]: one for one in json.loads(DATA_IN_PAGE.search(page)[1])["picked"]}
    assert told[None]["descriptors"] is not None  # where one can go on answering
    assert told["ranked"]["descriptors"] is None


def test_a_second_list_of_named_particles_does_not_leave_them_alone(finished, tmp_path):
    run_s1(config(finished, tmp_path, name="shells"), quiet=True)
    kept = tmp_path / "set"
    for path in kept.glob("*_shells*"):
        shutil.copy(path, path.with_name(path.name.replace("_shells", "")))
    file = answered(tmp_path, RANKS)
    told = json.loads(file.read_text())
    told["picking"]["name"] = "shells"
    file.write_text(json.dumps(told))
    done = command(kept, "--choices", file, "--name", "ranked")
    assert done.returncode == 0, done.stderr
    assert len(CSV.read(kept / f"{STEM.format(1)}_ranked.csv")) > 5


def test_the_settings_of_the_picking_are_kept_but_for_its_heights(finished, tmp_path):
    told = {"threshold": 0.2, "max_height": 3.0, "contrast": "dark", "margin": 10.0}
    run_s1(config(finished, tmp_path, **told), quiet=True)
    file = answered(tmp_path, {0: True, 2: False})
    found = with_choices([tmp_path / "set"], {"choices": [str(file)], "max_particles": 9})
    kept = {"contrast": "dark", "margin": 10.0, "diameter": 140.0, "max_particles": 9}
    assert kept.items() <= found.items()
    assert not {"threshold", "max_height", "answers"} & {*found}
    assert found["workflows"] == ["intensities-gmm"]
    (tmp_path / "empty").mkdir()
    bare = with_choices([tmp_path / "empty"], {"choices": [str(file)]})
    assert bare == {
        "diameter": 140.0,
        "name": None,
        "workflows": ["intensities-gmm"],
        "choices": [str(file)],
    }


def test_files_about_different_particles_need_to_be_told_which(place):
    file = answered(place, RANKS)
    other = json.loads(file.read_text())
    other["picking"]["diameter"] = 90.0
    second = place / "other.json"
    second.write_text(json.dumps(other))
    done = command(place / "set", "--choices", file, second)
    assert done.returncode == 2
    assert f"{second} is about other particles than {file}; give --diameter" in done.stderr
    done = command(place / "set", "--choices", file, second, "--diameter", 140, "--overwrite")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["none.json", "5"])
def test_a_missing_file_ends_the_command_in_one_line(place, name):
    before = snapshot(place)
    done = command(place / "set", "--choices", name)
    assert done.returncode == 2
    assert f"{name}: no such file of choices" in the_error(done.stderr)
    assert snapshot(place) == before


def test_few_answers_only_correct(place):
    plain = {n: CSV.read(place / "set" / f"{STEM.format(n)}.csv") for n in range(2)}
    file = answered(place, {0: False, 1: True})
    done = command(place / "set", "--choices", file, "--overwrite")
    assert done.returncode == 0
    assert f"hold 2 answers, and rank candidates from {LEAST} on" in done.stdout
    assert np.array_equal(CSV.read(place / "set" / f"{STEM.format(0)}.csv"), plain[0][1:])
    assert np.array_equal(CSV.read(place / "set" / f"{STEM.format(1)}.csv"), plain[1])


def without_descriptors(path: Path) -> None:
    """The file as an earlier version has left it."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored if name != "descriptors"}
    np.savez_compressed(path, **arrays)


def test_candidates_of_earlier_versions_are_found_again(place):
    file = answered(place, RANKS)
    wanted = expected(place, file, 1)
    for index in range(2):
        without_descriptors(place / "set" / f"{STEM.format(index)}.npz")
    assert command(place / "set", "--choices", file, "--overwrite").returncode == 0
    table = CSV.read(place / "set" / f"{STEM.format(1)}.csv")
    np.testing.assert_allclose(in_order(table[:, [6, 5, 4]]), in_order(wanted), atol=1e-9)


def test_candidates_of_earlier_versions_need_the_tomogram(place):
    file = answered(place, RANKS)
    for index in range(2):
        path = place / "set" / f"{STEM.format(index)}.npz"
        without_descriptors(path)
        tomogram = Path(NPZ.read(path).tomogram)
        tomogram.rename(tomogram.with_suffix(".away"))
    try:
        done = command(place / "set", "--choices", file, "--overwrite")
    finally:
        for index in range(2):
            tomogram.with_name(f"half{index}.away").rename(tomogram.with_name(f"half{index}.mrc"))
    assert done.returncode == 2
    assert "choices need it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_has_the_descriptors_that_a_file_has_them_from(finished):
    from base64 import b64decode

    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    told = describe_picked(particles)
    units = np.frombuffer(b64decode(told["descriptors"]), "<i2").reshape(-1, 23)
    ranked = particles.pool.free.ranked(particles.pool.scale)
    assert np.array_equal(units / 8000, particles.pool.looks(ranked)[: len(units)])
    assert len(units) == min(len(ranked.points), 2000)
    places = np.frombuffer(b64decode(told["candidates"]), "<f8").reshape(-1, 4)
    assert np.array_equal(places[: len(units), 3], ranked.heights[: len(units)])
    bare = replace(particles.pool, candidates=replace(particles.pool.candidates, descriptors=None))
    assert describe_picked(particles.model_copy(update={"pool": bare}))["descriptors"] is None


def test_tomograms_of_one_name_are_told_apart_by_path(finished):
    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    place = {"z": 1.0, "y": 1.0, "x": 1.0, "good": True}
    named = {"name": particles.name}
    one = tomogram(place, **named, path=str(particles.tomogram))
    other = tomogram(place | {"x": 9.0}, **named, path="elsewhere.mrc")

    def read(*lists):
        return answers_in([model(content(tomograms=[*lists]))], particles).points.tolist()

    assert read(one, other) == [[1.0, 1.0, 1.0]]
    assert read(other) == [[1.0, 1.0, 9.0]]  # the tomogram has been moved
    assert read(tomogram(place, name="x.mrc")) == []


def model(content: dict):
    from picket_gpu.particles.choices import Choices

    return Choices.model_validate(content)


def test_the_last_answer_for_a_place_holds(finished):
    particles = read_with_candidates(finished / "set" / f"{STEM.format(0)}.npz")
    place = {"z": 1.0, "y": 1.0, "x": 1.0, "good": True}
    lists = [
        tomogram(place, name=particles.name),
        tomogram(place | {"good": False, "x": 1.2}, name=particles.name),
    ]
    files = [model(content(tomograms=[one])) for one in lists]
    found = answers_in(files, particles)
    assert found.points.tolist() == [[1.0, 1.0, 1.2]]
    assert found.good.tolist() == [False]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "score"}, "choices: needs the tomogram"),
        ({"method": "components"}, "choices: needs the tomogram"),
        ({"threshold": 1.5}, "threshold: must be a number from 0 to 1"),
        ({"max_height": 2.0}, "max_height: must be a number from 0 to 1"),
    ],
)
def test_settings_that_contradict_choices_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ParticleSettings.model_validate({"diameter": 100.0, "choices": "c.json"} | settings)
