"""Candidates, the scale of their heights, what is chosen of them, and the file that keeps them."""

from dataclasses import replace

import numpy as np
import pytest

from picket_gpu.errors import PicketError
from picket_gpu.files.filenames import TomogramFiles
from picket_gpu.particles.candidates import Candidates, Scale, choose
from picket_gpu.particles.files import (
    files_of,
    picked_in,
    read_candidates,
    read_particles,
    read_with_candidates,
    write_particles,
)
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.formats.csv import CSV
from picket_gpu.particles.formats.npz import NPZ
from picket_gpu.particles.pool import Pool
from picket_gpu.particles.settings import ParticleSettings
from tests.support.heights import both, distances, otsu_of, spread
from tests.support.records import particles_of, subject_of

SIZE = (12.0, 10.0, 8.0)  # (z, y, x)
DIAMETER = 60.0
SHAPE = (30, 40, 50)


def some(seed: int, sources: int = 1, count: int = 60, low: float = 0.2) -> Candidates:
    """Candidates at random places, a tenth of them high; those of one source descend."""
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3)) * SHAPE
    high = np.arange(count) % 10 == 0
    heights = np.where(high, 0.8, low) + 0.1 * rng.standard_normal((sources, count))
    source = np.arange(count) * sources // count
    for number in range(sources):
        own = np.flatnonzero(source == number)
        order = own[np.argsort(-heights[number, own])]
        points[own], heights[:, own] = points[order], heights[:, order]
    if sources == 1:
        kept = spread(points, heights[0], 0.8 * DIAMETER, SIZE)
        points, heights, source = points[kept], heights[:, kept], source[kept]
    diameters = np.full(len(points), DIAMETER)
    return Candidates(points, diameters, heights, source.astype(np.int8), SIZE)


def pool_of(candidates: Candidates, excluded=(), claimed=()) -> Pool:
    masks = np.zeros((2, len(candidates.points)), dtype=bool)
    masks[0, list(excluded)] = masks[1, list(claimed)] = True
    return Pool.of(candidates, *masks, "0" * 32)


# Near.


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("each", [False, True])
def test_near_is_what_a_loop_over_all_pairs_finds(share, each):
    rng = np.random.default_rng(1)
    candidates = replace(some(0), diameters=rng.uniform(20, 90, len(some(0).points)))
    points = rng.random((15, 3)) * SHAPE
    reach = rng.uniform(10, 80, len(points)) if each else 50.0
    expected = [
        any(
            np.linalg.norm((place - point) * SIZE) < radius + share * diameter
            for point, radius in zip(points, np.broadcast_to(reach, len(points)), strict=True)
        )
        for place, diameter in zip(candidates.points, candidates.diameters, strict=True)
    ]
    assert 0 < sum(expected) < len(expected)
    assert candidates.near(points, reach, share).tolist() == expected


def test_what_is_just_as_far_is_not_near():
    one = Candidates(
        np.array([[0.0, 0.0, 0.3]]), np.array([60.0]), np.ones((1, 1)), np.zeros(1), SIZE
    )
    assert not one.near(np.array([[0.0, 0.0, 6.3]]), 48.0).any()
    assert one.near(np.array([[0.0, 0.0, 6.3]]), 48.01).all()
    assert not one.near(np.array([[0.0, 0.0, 6.3]]), 24.0, 0.4).any()


def test_nothing_is_near_nothing():
    candidates = some(0)
    assert not candidates.near(np.empty((0, 3)), 50.0).any()
    assert candidates.without(np.ones(len(candidates.points), bool)).near(
        np.zeros((1, 3)), 50.0
    ).shape == (0,)


# Scales.


def test_a_scale_of_several_is_otsus_of_all_their_heights():
    each = [some(0), some(1, low=0.5), some(2, low=0.0)]
    scale = Scale.of(each)
    pooled = np.concatenate([one.heights[0] for one in each])
    assert scale.threshold == pytest.approx(otsu_of(pooled), abs=1e-12)
    own = [otsu_of(one.heights[0]) for one in each]
    assert min(abs(scale.threshold - one) for one in own) > 0.05
    assert (scale.sources, scale.zero, scale.unit) == ((), 0.0, 1.0)


def test_relative_heights_count_in_those_of_the_greatest_of_all():
    each = [replace(some(n), is_relative=True) for n in range(2)]
    each[1] = replace(each[1], heights=3 * each[1].heights)
    scale = Scale.of(each)
    greatest = max(one.heights.max() for one in each)
    assert scale.unit == greatest
    pooled = np.concatenate([one.heights[0] for one in each]) / greatest
    assert scale.threshold == pytest.approx(otsu_of(pooled), abs=1e-12)
    picks = choose(each[0], scale=scale)
    assert picks.candidate_heights == pytest.approx(each[0].heights[0] / greatest)
    assert picks.count == np.count_nonzero(each[0].heights[0] / greatest >= otsu_of(pooled))


def test_the_automatic_threshold_is_a_share_of_the_greatest_at_most():
    candidates = replace(some(0), most=0.25)
    assert Scale.of([candidates]).threshold == 0.25 * candidates.heights.max()


def test_two_sources_have_one_height_by_their_classes():
    """Of one tomogram and of several, by loops."""
    for each in ([some(0, 2)], [some(0, 2), some(1, 2, low=0.5), some(2, 2, low=0.0)]):
        scale = Scale.of(each)
        assert scale.threshold == 0
        for one, (points, heights, count) in zip(each, both(each, DIAMETER), strict=True):
            picks = choose(one, scale=scale)
            assert picks.count == count > 0
            np.testing.assert_array_equal(picks.candidates, points)
            np.testing.assert_allclose(picks.candidate_heights, heights, atol=1e-12)


def test_no_candidates_have_a_scale():
    for sources in (1, 2):
        none = some(0, sources).without(np.ones(len(some(0, sources).points), bool))
        assert choose(none).count == 0
        usual = Scale.of([some(1, sources)])
        assert Scale.of([none, some(1, sources)]) == usual


# Choosing.


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize("most", [None, 3])
def test_picks_are_between_the_heights_and_no_more_than_wanted(sources, most):
    candidates = some(0, sources)
    every = choose(candidates, threshold=-3.0)
    least, greatest = every.heights[12], every.heights[4]
    picks = choose(candidates, float(least), float(greatest), most)
    inside = (every.heights >= least) & (every.heights <= greatest)
    np.testing.assert_array_equal(picks.coordinates, every.coordinates[inside][:most])
    np.testing.assert_array_equal(picks.heights, every.heights[inside][:most])
    assert (picks.first, picks.count) == (4, 9 if most is None else most)
    np.testing.assert_array_equal(picks.candidates, every.candidates)
    assert distances(picks.candidates, SIZE).min() >= 0.8 * DIAMETER * (1 - 1e-9)


def test_a_greatest_height_below_all_picks_nothing():
    picks = choose(some(0), 0.0, 0.0)
    above = np.count_nonzero(some(0).heights[0] > 0)
    assert (picks.count, picks.first) == (0, above)
    assert len(picks.coordinates) == 0


def test_a_floor_is_the_least_threshold():
    candidates = replace(some(0), floor=0.5)
    assert choose(candidates).threshold == 0.5
    assert choose(candidates, 0.3).threshold == 0.5
    assert choose(candidates, 0.7).threshold == 0.7


def test_what_is_left_out_is_not_picked_and_sets_no_threshold():
    candidates = some(0)
    pool = pool_of(candidates, excluded=[0], claimed=[1, 2])
    picks = pool.choose({"threshold": "auto"})
    np.testing.assert_array_equal(picks.candidates, candidates.points[3:])
    assert picks.threshold == pytest.approx(otsu_of(candidates.heights[0, 3:]), abs=1e-12)
    assert picks.threshold != pytest.approx(otsu_of(candidates.heights[0]), abs=1e-6)


# The file.


def particles(pool: Pool, **settings):
    subject = subject_of(SHAPE, voxel_size=SIZE, origin=(1.5, -2.0, 3.25))
    given = ParticleSettings(diameter=DIAMETER, **settings)
    return particles_of(
        subject,
        pool.choose(given.model_dump()),
        DIAMETER,
        settings=given.model_dump(mode="json", exclude_none=True),
        picking=given.picking,
        source="segmentation",
        seconds=0.25,
        pool=pool,
    )


@pytest.fixture
def written(tmp_path):
    """Particles with all their files."""
    pool = pool_of(some(0, 2), [3, 7], [11])
    found = particles(pool, name="shells", max_height=2.0, not_in=["rods"])
    found = found.model_copy(update={"directory": tmp_path})
    write_particles(files_of(found), found)
    return found


def test_a_file_gives_back_all_of_it(written):
    again = read_candidates(files_of(written)["candidates"])
    told, read = written.model_dump(), again.model_dump()
    assert read == told
    assert (again.source, again.diameter, again.directory) == (
        "segmentation",
        DIAMETER,
        written.directory,
    )
    assert again.pool.scale == written.pool.scale
    for name in ("points", "diameters", "heights", "source"):
        one, other = (getattr(each.pool.candidates, name) for each in (written, again))
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.pool.excluded, written.pool.excluded)
    np.testing.assert_array_equal(again.pool.claimed, written.pool.claimed)
    np.testing.assert_array_equal(again.table, written.table)
    assert NPZ.read_fingerprint(files_of(written)["candidates"]) == "0" * 32


def test_it_is_the_same_byte_by_byte(written):
    path = files_of(written)["candidates"]
    before = path.read_bytes()
    NPZ.write(path, [read_candidates(path)])
    assert path.read_bytes() == before


def no_archive(data: bytes) -> bytes:
    return b"no archive" + data


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """With other bytes in the largest array, where the list of contents is whole."""
    middle = data.index(b"heights.npy") + 200
    return (
        data[:middle]
        + bytes(255 - byte for byte in data[middle : middle + 40])
        + data[middle + 40 :]
    )


DAMAGES = {
    "empty": lambda data: b"",
    "no archive": no_archive,
    "cut": cut,
    "flipped": flipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_left_out(written, damage):
    path = files_of(written)["candidates"]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert NPZ.read_fingerprint(path) is None
    with pytest.raises(PicketError) as caught:
        read_with_candidates(path)
    assert str(caught.value).startswith(f"{path}: file of particles is truncated or damaged (")
    assert "\n" not in str(caught.value)
    assert picked_in(written.directory, 0) == []


def test_a_missing_file_has_no_fingerprint(tmp_path):
    assert NPZ.read_fingerprint(tmp_path / "none.npz") is None
    assert NPZ.read_names(tmp_path / "none.npz") == (None, [])


def test_names_are_read_without_the_rest(written):
    assert NPZ.read_names(files_of(written)["candidates"]) == ("shells", ["rods"])


# A table that a person has changed.


def shorten(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))


@pytest.fixture
def own(tmp_path):
    """Particles that depend on no others, with label 0, and contrast dark."""
    pool = pool_of(replace(some(0, 2), label=0, dark=True))
    found = particles(pool).model_copy(update={"directory": tmp_path})
    write_particles(files_of(found), found)
    return found


def test_a_table_that_was_changed_by_hand_holds(own):
    files = files_of(own)
    assert read_with_candidates(files["candidates"]).pool is not None
    shorten(files["csv"])
    again = read_with_candidates(files["candidates"])
    assert again.count == own.count - 1
    np.testing.assert_array_equal(again.table, own.table[:-1])
    assert again.pool is None
    assert (again.label, again.contrast, again.diameter) == (0, "dark", DIAMETER)
    assert again.settings == own.settings
    (found,) = picked_in(own.directory, 0)
    assert found.count == own.count - 1


def test_a_table_that_depends_on_others_holds_too(tmp_path):
    for settings in ({"threshold": "dataset"}, {"not_in": ["shells"]}):
        found = particles(pool_of(some(0, 2)), **settings)
        found = found.model_copy(update={"directory": tmp_path})
        write_particles(files_of(found), found)
        shorten(files_of(found)["csv"])
        edited = read_with_candidates(files_of(found)["candidates"])
        assert edited.count == found.count - 1
        assert not edited.is_chosen_anew


def test_an_empty_table_by_hand_is_no_particles(own):
    files = files_of(own)
    CSV.write(files["csv"], [own.model_copy(update={"picks": replace(own.picks, count=0)})])
    assert read_with_candidates(files["candidates"]).count == 0


# Written together.


def test_files_are_whole_wherever_writing_ends(own, monkeypatch):
    """A table is there only when all others are, and what it can be made from is there always."""
    files = files_of(own)
    fewer = own.chosen_by(pool_of(own.pool.candidates, excluded=range(5)))
    assert fewer.count != own.count
    for limit in range(len(files)):
        write_particles(files, own)
        calls: list[str] = []

        def wrapped(kind, write, limit=limit, calls=calls):
            def ending(path, lists):
                if len(calls) == limit:
                    raise KeyboardInterrupt
                calls.append(kind)
                write(path, lists)

            return ending

        with monkeypatch.context() as patch:
            for kind in files:
                patch.setattr(FORMATS[kind], "write", wrapped(kind, FORMATS[kind].write))
            with pytest.raises(KeyboardInterrupt):
                write_particles(files, fewer)
        assert files["yaml"].exists()
        assert read_candidates(files["candidates"]).count in (own.count, fewer.count)
        assert not files["csv"].exists()
    write_particles(files, fewer)
    again = read_particles(files["csv"], fewer, mode="", method="", fingerprint="", files=[""])
    assert again.count == fewer.count


def test_files_of_particles_are_those_of_their_name_and_formats(own):
    names = TomogramFiles(own.directory, 0, []).particles("gabor", "gmm", "shells", ["warp"])
    other = own.model_copy(
        update={"picking": "shells", "settings": own.settings | {"formats": ["warp"]}}
    )
    assert files_of(other) == names
    assert "copick" not in names
    copick = own.model_copy(update={"files": [*own.files, "copick/Picks/a.json"]})
    assert files_of(copick)["copick"] == own.directory / "copick/Picks/a.json"
