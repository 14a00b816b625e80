"""What the terminal says of many tomograms: a line each, problems on their own, the time left."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import mrcfile
import pytest

from picket_gpu.__main__ import main
from picket_gpu.console import about
from picket_gpu.run.results import S1Run
from picket_gpu.run.summary import far_off, joined, listed, named, odd
from picket_gpu.run.time_left import TimeLeft
from tests.support.three_tomograms import configure, write_tomogram
from tests.support.three_tomograms import place as place

SIX = [{"tomogram": f"t{number}.mrc"} for number in range(6)]


@pytest.fixture
def six(place):
    """Six tomograms; of these 1 is truncated, 2 has no voxel size and 4 another one than most."""
    for number in range(3, 6):
        write_tomogram(place / f"t{number}.mrc", 10 * number)
    (place / "t1.mrc").write_bytes((place / "t1.mrc").read_bytes()[:-1])
    for number, size in ((2, 0.0), (4, 10.0)):
        with mrcfile.open(f"t{number}.mrc", "r+") as mrc:
            mrc.voxel_size = size
    shared()
    return place


def shared(**changes):
    one = {
        "inputs": SIX,
        "feature_extraction_params": [{"mode": "intensities"}],
        "clustering_methods": ["kmeans"],
        "report": False,
    }
    configure(**(one | changes))


def printed(capsys, *options, code=1) -> list[str]:
    assert main(["params.yaml", *options]) == code
    return capsys.readouterr().out.splitlines()


# Before the run.


def test_a_dry_run_of_several_begins_with_what_is_odd(six, capsys):
    lines = printed(capsys, "--dry-run")
    assert lines[1:5] == [
        "1 of 6 tomograms cannot be read:",
        "  tomogram 1: t1.mrc: MRC file is truncated (54783 of 54784 bytes); copy it again",
        "warning: t2.mrc: has no voxel size; set voxel_size",
        "warning: voxel sizes differ: 13.48 angstrom in 3 tomograms (0,3,5), 10 angstrom in "
        "tomogram 4",
    ]
    table = lines[5:11]
    assert [line.split()[0] for line in table] == ["tomogram", "0", "2", "3", "4", "5"]
    assert table[1] == "0         t0.mrc  20 x 24 x 28    13.48     intensities"
    assert table[2] == "2         t2.mrc  20 x 24 x 28    unknown   intensities"
    assert lines[11:13] == ["Each tomogram:", "  fitting: 7,680 neighborhoods"]
    assert lines.count("  intensities: Features array of shape: (7680, 125)") == 1
    assert lines[-1] == "6 tomograms: 5 to do, 1 cannot be read"
    assert not Path("out").exists()


def test_a_dry_run_of_one_of_them_has_the_details(six, capsys):
    lines = printed(capsys, "--dry-run", "--tomograms", "3", code=0)
    assert lines[1] == "[tomogram 3, 4 of 6] t3.mrc"
    assert "  out/set/segmentation_3_intensities_kmeans.h5" in lines


def test_limits_and_masks_are_told_where_there_are_any(six, capsys):
    inputs = [dict(entry) for entry in SIX]
    inputs[3] |= {"lower_z-slice_limit": 2, "upper_z-slice_limit": 14, "mask": "t0.mrc"}
    inputs[5] |= {"prediction_lower_z-slice_limit": 4, "mask_for_output": "t0.mrc"}
    shared(inputs=inputs)
    out = "\n".join(printed(capsys, "--dry-run"))
    assert re.search(r"^0 .* 13.48 +none +intensities$", out, re.M)
    assert re.search(r"^3 .* fit z 2-13, mask +intensities$", out, re.M)
    assert re.search(r"^5 .* label z 4-19, mask for output +intensities$", out, re.M)
    assert "  fitting: at most 3,840 to 7,680 neighborhoods" in out


def test_a_dry_run_tells_what_is_done_and_what_has_changed(six, capsys):
    printed(capsys, "--tomograms", "0-3")
    shared(feature_extraction_params=[{"mode": "intensities"}, {"mode": "gabor"}])
    lines = printed(capsys, "--dry-run")
    assert [line.split("  ")[-1].strip() for line in lines if re.match(r"\d  ", line)] == [
        *["gabor"] * 3,
        *["intensities, gabor"] * 2,
    ]
    shared(blur_sigma=1.5)
    changed = (
        "3 tomograms (0,2-3): settings or tomogram have changed since the last run; "
        "computing again: intensities"
    )
    assert changed in printed(capsys, "--dry-run")
    assert printed(capsys)[1] == changed
    assert printed(capsys, "--dry-run")[-1] == "6 tomograms: 5 done earlier, 1 cannot be read"


# While it runs, and at its end.


def test_a_run_of_several_has_a_line_for_each_and_what_is_odd_under_it(six, capsys):
    lines = [re.sub(r"\d\.\d s", "_", line) for line in printed(capsys)]
    left = "; less than a minute left"
    assert lines[1:9] == [
        "[1 of 6] tomogram 1, t1.mrc: failed",
        "  FAILED: t1.mrc: MRC file is truncated (54783 of 54784 bytes); copy it again",
        "[2 of 6] tomogram 0, t0.mrc: 1 segmentation, _",
        f"[3 of 6] tomogram 2, t2.mrc: 1 segmentation, _{left}",
        "  warning: t2.mrc: has no voxel size; set voxel_size",
        f"[4 of 6] tomogram 3, t3.mrc: 1 segmentation, _{left}",
        f"[5 of 6] tomogram 4, t4.mrc: 1 segmentation, _{left}",
        "[6 of 6] tomogram 5, t5.mrc: 1 segmentation, _",
    ]
    assert lines[9].split() == [
        *("tomogram", "mode", "method", "foreground", "iterations", "seconds", "file")
    ]
    assert lines[11].split() == ["t1.mrc", "failed"]
    assert lines[16:] == [
        "Look at these first:",
        "  failed: tomogram 1",
        "  warning: t2.mrc: has no voxel size; set voxel_size",
        "Finished 5 of 6 tomograms: 5 segmentations in out/set. 1 failure, see below",
    ]
    again = printed(capsys)
    assert again[3] == "[2 of 6] tomogram 0, t0.mrc: 1 segmentation, done earlier"
    assert not any(" left" in line for line in again)


@pytest.mark.parametrize("workflows", [1, 2])
def test_the_table_at_the_end_has_a_row_for_each_tomogram(six, capsys, workflows):
    methods = ["kmeans", "gmm"][:workflows]
    names = [f"intensities-{method}" for method in methods]
    inputs = [entry | {"voxel_size": 13.48} for entry in SIX]
    shared(
        inputs=inputs,
        clustering_methods=methods,
        particles={"diameter": 140, "workflows": names, "max_particles": 3},
    )
    lines = printed(capsys)
    start = next(n for n, line in enumerate(lines) if line.startswith("tomogram "))
    rows = [re.split(r"  +", line) for line in lines[start : start + 8]]
    heads = ["particles"] if workflows == 1 else names
    pairs = [head for name in heads for head in (name, "threshold")]
    assert rows[0] == ["tomogram", "name", *pairs, "warnings", "failures"]
    assert [row[:2] for row in rows[1:7]] == [[f"{n}", f"t{n}.mrc"] for n in range(6)]
    assert rows[2][2:] == [*["failed"] * workflows, "1"]
    assert rows[7][:2] == ["total", "6"]
    csv = Path("out/set").glob("particles_[0-5]_*.csv")
    assert sum(map(int, rows[7][2 : 2 + workflows])) == sum(
        len(path.read_text().splitlines()) - 1 for path in csv
    )
    assert rows[7][-1] == "1"
    (line,) = (line for line in lines if line.startswith("[3 of 6]"))
    first, second = rows[3][2], rows[3][-2]
    told = f"{first} particles?, "
    if workflows == 2:
        told = f"{first} particles from intensities-kmeans, {second} from intensities-gmm, "
    assert re.match(rf"\[3 of 6\] tomogram 2, t2.mrc: {told}\d", line)


def test_json_keeps_its_lines_and_units_and_has_those_of_tomograms_too(six, capsys):
    events = [json.loads(line) for line in printed(capsys, "--log-format", "json")]
    texts = [event["text"] for event in events if event["event"] == "line"]
    assert "[tomogram 3, 4 of 6] t3.mrc" in texts
    assert "Features array of shape: (7680, 125)" in texts
    assert any(text.startswith("intensities kmeans: ") for text in texts)
    assert any(text.startswith("[6 of 6] tomogram 5, t5.mrc: 1 segmentation") for text in texts)
    assert sum("FAILED: t1.mrc" in text for text in texts) == 1
    assert len([event for event in events if event["event"] == "unit"]) == 6


def test_quiet_is_quiet_of_several_too(six, capsys):
    assert printed(capsys, "--quiet") == []


def test_a_part_that_fails_is_counted(six, capsys):
    shared(
        feature_extraction_params=[{"mode": "gabor"}, {"mode": "intensities"}],
        inputs=[SIX[0], SIX[3]],
    )
    (Path("out/set") / "segmentation_1_gabor_kmeans.h5").mkdir(parents=True)
    lines = printed(capsys, "--overwrite")
    assert re.match(r"\[2 of 2\] tomogram 1, t3.mrc: 1 segmentation, .* s, 1 part failed", lines[2])
    assert lines[3].startswith("  FAILED: gabor: ")
    assert lines[-1].startswith("Finished 2 tomograms: 3 segmentations in out/set. 1 failure")


# In few words.


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        ([12], "12"),
        ([3, 1, 2], "1-3"),
        ([0, 1, 2, 7, 9, 10], "0-2,7,9-10"),
        (range(0, 60, 2), ",".join(map(str, range(0, 40, 2))) + ",..."),
    ],
)
def test_numbers_of_tomograms(indices, text):
    assert listed(indices) == text


def test_a_tomogram_is_named_by_its_number():
    assert [named([12]), named(range(1200))] == ["tomogram 12", "1,200 tomograms (0-1199)"]


def test_equal_warnings_become_one():
    lines = joined(
        {
            0: ["a.mrc: has no voxel size; set voxel_size", "mask.mrc: odd"],
            1: ["b.mrc: has no voxel size; set voxel_size", "mask.mrc: odd"],
            2: ["c.mrc: 30.2% is padding", "without a name"],
            5: ["d.mrc: 7.5% is padding"],
        }
    )
    assert list(lines) == [
        "warning: 2 tomograms (0-1): has no voxel size; set voxel_size",
        "warning: 2 tomograms (0-1): mask.mrc: odd",
        "warning: 2 tomograms (2,5), such as c.mrc: 30.2% is padding",
        "warning: without a name",
    ]


def test_numbers_that_are_far_from_the_others():
    numbers = dict(enumerate([1.0, 1.1, 0.9, 1.05, 0.95, 3.0, 1.0]))
    assert far_off(numbers, 0) == [5]
    assert far_off(numbers, 0.5) == []
    assert far_off({0: 1.0, 1: 1.0, 2: 9.0}, 0) == []  # too few to tell
    assert far_off(dict.fromkeys(range(200), 0.5), 0) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute left"),
        (29, "less than a minute left"),
        (90, "about 2 min left"),
        (59 * 60, "about 59 min left"),
        (3600, "about 1 h left"),
        (80 * 60, "about 1 h 20 min left"),
        (119 * 60, "about 2 h left"),
        (35.4 * 3600, "about 35 h left"),
    ],
)
def test_the_time_that_is_left_in_words(seconds, text):
    assert about(seconds) == text


def plan_of(index, shape=(10, 10, 10), steps=2):
    header = SimpleNamespace(shape=shape)
    return SimpleNamespace(index=index, header=header, steps=steps, is_done=steps == 0)


def test_the_time_that_is_left_follows_the_work():
    """Ten tomograms of 10 s, one twice as large, one with half of the work, one done earlier."""
    plans = [plan_of(index) for index in range(10)]
    plans += [plan_of(10, (20, 10, 10)), plan_of(11, steps=1), plan_of(12, steps=0)]
    left = TimeLeft(plans)
    assert left.done(12, None) is None
    assert left.done(0, 10.0) is None  # one says too little
    assert left.done(1, 10.0) == pytest.approx(8 * 10 + 20 + 5)
    assert left.done(2, None) == pytest.approx(7 * 10 + 20 + 5)  # it failed, which takes no time
    assert left.done(10, 20.0) == pytest.approx(7 * 10 + 5)
    for index in (3, 4, 5, 6, 7, 8, 9):
        assert left.done(index, 10.0) == pytest.approx((9 - index) * 10 + 5)
    assert left.done(11, 5.0) is None  # nothing is left


def test_the_time_that_is_left_of_workers():
    """Four workers, 40 tomograms of 10 s, of which one ends every 2.5 s."""
    left = TimeLeft([plan_of(index) for index in range(40)])
    for done in range(1, 40):
        estimate = left.done(done - 1, 10.0, workers=4)
        if done > 1:
            # Right to half a tomogram.
            assert abs(estimate - (40 - done) * 2.5) <= 5


def picking(index, count, threshold, stem="intensities_kmeans"):
    title = stem.replace("_", "-")
    return SimpleNamespace(
        index=index, count=count, threshold=threshold, candidates=99, title=title
    )


def test_what_to_look_at_first_in_the_results_of_many():
    """Counts spread as Poisson's do, but for two; one tomogram has a threshold of its own."""
    counts = [100, 95, 108, 102, 0, 97, 20, 104, 99]
    thresholds = [0.50, 0.51, 0.49, 0.50, 0.52, 0.48, 0.50, 2.0, 0.50]
    particles = [
        picking(index, count, threshold)
        for index, (count, threshold) in enumerate(zip(counts, thresholds, strict=True))
    ]
    assert list(odd(S1Run(particles=particles, warnings={3: ["t3.mrc: odd"]}))) == [
        "no particles: tomogram 4",
        "number of particles far from the others' (median 99.5): 20 in tomogram 6",
        "threshold far from the others' (median 0.500): 2.000 in tomogram 7",
        "warning: t3.mrc: odd",
    ]
    particles += [picking(index, 0, 0.5, "gabor_gmm_virus") for index in range(9)]
    assert "no particles from gabor-gmm-virus: 9 tomograms (0-8)" in odd(S1Run(particles=particles))
    assert list(odd(S1Run(particles=particles[:3]))) == []
