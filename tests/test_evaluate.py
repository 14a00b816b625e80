"""Picks beside annotations, from files of any format, on the command line."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from benchmarks.quality.spheres import sphere_centres
from picket_gpu import run_s1
from picket_gpu.evaluate import main
from picket_gpu.files.filenames import FURTHER, CopickNames, TomogramFiles, list_name
from picket_gpu.particles.candidates import Scale, choose
from picket_gpu.particles.files import files_of, write_particles
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.points import READERS, points_in
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.pick import pick_files
from picket_gpu.run.dataset import update_lists
from tests.support.command_line import ENVIRONMENT, called, the_error
from tests.support.data import DATA
from tests.support.records import particles_of, picks_of, subject_of

SHAPE, SIZE, ORIGIN = (40, 60, 80), (10.0, 10.0, 10.0), (-105.0, 220.0, 30.0)
DIAMETER = 100.0  # angstrom: 5 voxels to either side
# On a grid 20 voxels apart; picks are 3 voxels off, or 6, beyond half a diameter.
GRID = np.array([(10, y, x) for y in (10, 30, 50) for x in (10, 30, 50, 70)], float)
RIGHT, WRONG = (GRID + np.array([0, off, 0]) for off in (3, 6))
# Heights 0.95 to 0.4, of which six are above 0.7.
CANDIDATES = np.concatenate([RIGHT[:5], WRONG[5:6], RIGHT[6:9], WRONG[9:]])
HEIGHTS = 0.95 - 0.05 * np.arange(12)


def tomogram(directory, number, **changes):
    path = Path(f"TS_0{number}.mrc")
    fields = {"directory": directory, "index": number, "tomogram": path, "name": path.name}
    return subject_of(SHAPE, **fields | {"voxel_size": SIZE, "origin": ORIGIN} | changes)


def particles_in(subject, points=CANDIDATES, name=None, **settings):
    settings = {"diameter": DIAMETER, "threshold": 0.69} | settings
    files = TomogramFiles(subject.directory, subject.index, []).particles("gabor", "gmm", name)
    particles = particles_of(
        subject,
        picks_of(points, HEIGHTS[: len(points)]),
        settings=settings,
        picking=name,
        diameter=DIAMETER,
        files=[path.name for path in files.values()],
    )
    particles = particles.chosen_by(particles.pool)
    write_particles(files, particles)
    return particles


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of a run: six picks in each of two tomograms, five right in the first, all in the
    second."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "set"
    directory.mkdir()
    particles_in(tomogram(directory, 1))
    particles_in(tomogram(directory, 2), RIGHT)
    update_lists(directory)
    return directory


def write(path, points):
    """Points in the first tomogram, as a run writes them."""
    FORMATS[path.suffix[1:]].write(path, [particles_of(tomogram(path.parent, 1), picks_of(points))])
    return path


def table(path, **columns):
    """A table with these columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_tomogram(path, voxel_size=10.0):
    noise = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    mrcfile.write(path, noise, voxel_size=voxel_size)
    with mrcfile.open(path, "r+") as mrc:
        mrc.header.origin = ORIGIN


def truth_of(**tomograms):
    """A table of centres in several tomograms."""
    names = [name for name, points in tomograms.items() for _ in points]
    z, y, x = np.concatenate([*tomograms.values()]).T
    return table(Path("truth.csv"), tomogram=names, x=x, y=y, z=z)


def evaluated(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def counts(one):
    return one["picks"], one["truth"], one["found"]


def error(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return the_error(captured.err)


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "picket_gpu.evaluate", *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_tomograms_are_matched_by_name(results):
    truth_of(TS_02=GRID[:10], TS_01=GRID)
    found = run("set", "truth.csv")
    assert (found.returncode, found.stderr) == (0, "")
    # Eight of the nine candidates from 0.55 on are right in the first tomogram; in the second, ten
    # of ten from 0.5 on.
    told, *rows = found.stdout.splitlines()
    assert told == "gabor-gmm: picks within 50 A of the truth are right, half the diameter"
    head = "tomogram picks truth found precision recall F1 threshold best threshold F1 there"
    assert [" ".join(row.split()) for row in rows] == [
        head,
        "TS_01 6 12 5 0.833 0.417 0.556 0.690 0.5 0.762",
        "TS_02 6 10 6 1.000 0.600 0.750 0.690 0.47 1.000",
        "total 12 22 11 0.917 0.500 0.647 0.47 0.857",
    ]


def test_thresholds_are_what_picking_by_them_gives(results, capsys):
    truth_of(TS_02=GRID[:10], TS_01=GRID)
    wanted = [0.9, 0.69, 0.47, 0]
    (found,) = evaluated(capsys, "set", "truth.csv", "--beta", 4, "--thresholds", *wanted)
    assert [one["threshold"] for one in found["thresholds"]] == sorted(wanted, reverse=True)
    for one in found["thresholds"]:
        picked = int((one["threshold"] <= HEIGHTS).sum())
        right = int((np.abs(CANDIDATES - GRID).sum(axis=1)[:picked] < 5).sum()) + min(picked, 10)
        assert counts(one) == (2 * picked, 22, right)
        assert one["F4"] == pytest.approx(17 * right / (2 * picked + 16 * 22))
        assert one["F1"] == pytest.approx(2 * right / (2 * picked + 22))
    best = found["total"]["best"]
    particles_in(tomogram(results, 1), threshold=best["threshold"])
    particles_in(tomogram(results, 2), RIGHT, threshold=best["threshold"])
    (again,) = evaluated(capsys, "set", "truth.csv", "--beta", 4)
    assert counts(again["total"]) == counts(best)
    assert again["total"]["F4"] == best["F4"] > found["total"]["F4"]


def test_some_thresholds_are_printed_on_demand(results, capsys):
    truth_of(TS_01=GRID)
    assert main(["set/particles_1_gabor_gmm.csv", "truth.csv", "--thresholds"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert rows[1] == ["threshold", "picks", "truth", "found", "precision", "recall", "F1"]
    assert [int(row[1]) for row in rows[2:]] == [1, 2, 3, 5, 6, 7, 8, 10, 11, 12]
    assert all((float(row[0]) <= HEIGHTS).sum() == int(row[1]) for row in rows[2:])


def test_limits_of_the_settings_hold_at_other_thresholds(results, capsys):
    truth_of(TS_01=GRID)
    # The first is too high, and no more than seven are picked.
    particles_in(tomogram(results, 1), max_height=0.92, max_particles=7)
    at_zero = ["set/particles_1_gabor_gmm.csv", "truth.csv", "--thresholds", 0]
    (found,) = evaluated(capsys, *at_zero)
    assert counts(found["total"]) == (5, 12, 4)
    assert counts(found["thresholds"][0]) == (7, 12, 6)


def test_a_threshold_of_the_dataset_is_told_on_the_scale_of_a_number(results, capsys):
    truth_of(TS_01=GRID)
    one = particles_in(tomogram(results, 1), threshold="dataset")
    # Another tomogram has particles twice as high as the highest here, the unit of both.
    relative = replace(one.pool.candidates, is_relative=True)
    unit = 2 * HEIGHTS[0]
    pool = replace(one.pool, candidates=relative, scale=Scale((), 0.0, unit, 0.69 / unit))
    write_particles(files_of(one), one.chosen_by(pool))
    (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.csv", "truth.csv")
    assert counts(found["total"]) == (6, 12, 5)
    best = found["total"]["best"]
    assert counts(best) == (9, 12, 8)
    assert choose(relative, threshold=best["threshold"]).count == 9


@pytest.mark.parametrize("kind", sorted({"csv", "star", "cmm", "copick", *FURTHER}))
def test_truth_and_picks_of_each_format(results, capsys, kind):
    names = CopickNames(Path("project"), "TS_01", 10.0, "me", "a", "b")
    path = TomogramFiles(Path("truth"), 1, ["copick"], names).particles("a", "b", None, FURTHER)[
        kind
    ]
    subject = tomogram(Path("truth"), 1)
    path.parent.mkdir(parents=True)
    settings = {"binning": 4}
    FORMATS[kind].write(path, [particles_of(subject, picks_of(GRID), settings=settings)])
    size = ["--voxel-size", 2.5] if kind == "relion4" else []
    (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.csv", path, *size)
    assert counts(found["total"]) == (6, 12, 5)
    # As picks of another program, whose tomogram is named.
    write_tomogram("TS_01.mrc")
    moved = path.rename(path.with_name(f"picks{''.join(path.suffixes)}"))
    size = [option.replace("--", "--picks-") for option in size[:1]] + size[1:]
    options = ["--tomogram", "TS_01.mrc", "--tolerance", 50, *size]
    (found,) = evaluated(capsys, moved, "set/particles_1_gabor_gmm.csv", *options)
    assert counts(found["total"]) == (12, 6, 5)
    assert found["total"]["best"] is None


def test_truth_of_formats_that_are_only_read(results, capsys):
    lines = [{"location": dict(zip("zyx", point, strict=True))} for point in GRID.tolist()]
    Path("a.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mod = b"IMOD" + bytes(236) + b"CONT" + np.array([12, 0, 0, 0], ">i4").tobytes()
    xyz = GRID[:, ::-1] + (0.5, 0.5, 0)
    Path("a.mod").write_bytes(mod + xyz.astype(">f4").tobytes() + b"IEOF")
    for name in ("a.ndjson", "a.mod"):
        (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.star", name)
        assert counts(found["total"]) == (6, 12, 5)
        assert found["total"]["best"]["threshold"] == 0.5  # STAR rounds, and is known all the same
    known = {".csv", ".star", ".cmm", ".mod", ".txt", ".json", ".ndjson", ".tbl"}
    assert known == {*READERS}


def test_a_list_of_all_tomograms_is_of_the_run(results, capsys):
    truth_of(TS_01=GRID, TS_02=GRID)
    for ending in (".csv", ".star"):
        path = results / f"{list_name('gabor', 'gmm', None)}{ending}"
        (found,) = evaluated(capsys, path, "truth.csv")
        assert [one["tomogram"] for one in found["tomograms"]] == ["TS_01", "TS_02"]
        assert counts(found["total"]) == (12, 24, 11)
        assert found["total"]["best"]["found"] == 8 + 12


def test_each_workflow_and_name_is_compared(results, capsys):
    particles_in(tomogram(results, 1), RIGHT[:3], "shells", diameter=50.0)
    truth_of(TS_01=GRID)
    plain, named = evaluated(capsys, "set", "truth.csv")
    assert [plain["particles"], named["particles"]] == ["gabor-gmm", "gabor-gmm-shells"]
    assert (plain["tolerance"], named["tolerance"]) == (50, 25)
    assert counts(plain["total"]) == (6, 12, 5)
    assert counts(named["total"]) == (3, 12, 0)  # 30 angstrom off
    assert plain["notes"] == ["without truth, left out: TS_02"]


def test_a_path_with_the_name_of_each_tomogram(results, capsys):
    for name in ("TS_01", "TS_02"):
        Path(name).mkdir()
        write(Path(name, "a.csv"), GRID)
    (found,) = evaluated(capsys, "set", "{name}/a.csv")
    assert counts(found["total"]) == (12, 24, 11)
    Path("TS_02/a.csv").unlink()
    (found,) = evaluated(capsys, "set", "TS_0{index}/a.csv")
    assert counts(found["total"]) == (6, 12, 5)
    assert found["notes"] == ["without truth, left out: TS_02"]
    assert error(capsys, "set", "{name}.csv") == "{name}.csv: no file of that name for TS_01, TS_02"


def test_one_tomogram_may_have_two_names(results, capsys):
    truth_of(T1=GRID)
    (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.csv", "truth.csv")
    assert counts(found["total"]) == (6, 12, 5)
    assert found["notes"] == ["truth.csv calls the tomogram T1, picks TS_01"]
    assert main(["set/particles_1_gabor_gmm.csv", "truth.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"note: {found['notes'][0]}"


def test_tomograms_that_the_run_has_not_are_told(results, capsys):
    truth_of(TS_01=GRID, TS_07=GRID, TS_08=GRID)
    (found,) = evaluated(capsys, "set", "truth.csv")
    assert counts(found["total"]) == (6, 12, 5)
    assert found["notes"] == [
        "not tomograms of the picks, left out: TS_07, TS_08",
        "without truth, left out: TS_02",
    ]


def test_picks_that_were_changed_by_hand_have_no_thresholds(results, capsys):
    truth_of(TS_01=GRID)
    path = results / "particles_1_gabor_gmm.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (found,) = evaluated(capsys, path, "truth.csv")
    assert counts(found["total"]) == (5, 12, 5)
    assert found["total"]["best"] is None
    assert "has no candidates (.npz) with these points" in error(
        capsys, path, "truth.csv", "--thresholds"
    )


def test_a_table_that_was_sorted_otherwise_has_thresholds(results, capsys):
    truth_of(TS_01=GRID)
    path = results / "particles_1_gabor_gmm.csv"
    before = evaluated(capsys, path, "truth.csv")
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *reversed(rows)]))
    assert evaluated(capsys, path, "truth.csv") == before
    assert before[0]["total"]["best"] is not None


def test_no_picks_and_no_truth(results, capsys):
    particles_in(tomogram(results, 1), threshold=2.0)
    truth_of(TS_01=GRID)
    (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.csv", "truth.csv")
    assert counts(found["total"]) == (0, 12, 0)
    assert (found["total"]["precision"], found["total"]["F1"]) == (None, 0)
    assert found["total"]["best"]["found"] == 8
    Path("none.csv").write_text("x,y,z\n")
    (found,) = evaluated(capsys, "set/particles_1_gabor_gmm.csv", "none.csv")
    assert counts(found["total"]) == (0, 0, 0)
    assert [found["total"][name] for name in ("precision", "recall", "F1", "best")] == [None] * 4
    assert main(["set/particles_1_gabor_gmm.csv", "none.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1:7] == ["0", "0", "0", "-", "-", "-"]


def test_points_are_written_with_what_they_are(results, capsys):
    truth_of(TS_01=GRID, TS_02=GRID[:10])
    assert main(["set", "truth.csv", "--output", "points.csv"]) == 0
    rows = rows_of(Path("points.csv"))
    kinds = [(row["tomogram"], row["result"]) for row in rows]
    assert [kinds.count(("TS_01", kind)) for kind in ("found", "wrong", "missed")] == [5, 1, 7]
    assert [kinds.count(("TS_02", kind)) for kind in ("found", "wrong", "missed")] == [6, 0, 4]
    assert {row["distance_angstrom"] for row in rows} == {"30.0", ""}
    (wrong,) = [row for row in rows if row["result"] == "wrong"]
    assert [float(wrong[axis]) for axis in "zyx"] == WRONG[5].tolist()
    assert float(wrong["score"]) == HEIGHTS[5]
    assert float(wrong["x_angstrom"]) == WRONG[5][2] * 10 + ORIGIN[0]
    assert len(points_in(Path("points.csv"), tomogram(results, 2))) == 10
    message = "points.csv: already exists; pass --overwrite to replace it"
    assert error(capsys, "set", "truth.csv", "--output", "points.csv") == message
    assert main(["set", "truth.csv", "--output", "points.csv", "--overwrite"]) == 0


@pytest.mark.parametrize("output", ["truth.csv", "set/particles_0_gabor_gmm.csv", "set/run.json"])
def test_picks_and_truth_are_never_replaced(results, capsys, output):
    truth_of(TS_01=GRID, TS_02=GRID[:10])
    Path(output).touch()
    before = Path(output).read_bytes()
    told = error(capsys, "set", "truth.csv", "--output", output, "--overwrite")
    assert told == f"--output: {output} is of the picks or the truth; name another"
    assert Path(output).read_bytes() == before


def in_a_directory_of_its_own(path):
    """A file of particles without what a run writes beside it."""
    Path("alone").mkdir(exist_ok=True)
    return Path(path).rename(Path("alone", Path(path).name))


def test_two_tables_are_compared_by_columns_that_both_have(results, capsys):
    picks = in_a_directory_of_its_own("set/particles_1_gabor_gmm.csv")
    truth = write(Path("truth.csv"), GRID)
    both = [picks, truth, "--tolerance", 50]
    (found,) = evaluated(capsys, *both)
    assert counts(found["total"]) == (6, 12, 5)
    assert found["total"]["best"] is None
    assert main([*map(str, both), "--output", "points.csv"]) == 0
    rows = rows_of(Path("points.csv"))
    assert "x_angstrom" in rows[0]
    assert "x" not in rows[0]
    # The origin is in one, and not in the other.
    truth = table(Path("voxels.csv"), **dict(zip("zyx", GRID.T, strict=True)))
    told = error(capsys, picks, truth, "--tolerance", 50)
    assert told == (
        f"{picks}: is in voxels of unknown size, as voxels.csv is; set --voxel-size, or name the "
        "tomogram by --tomogram"
    )
    (found,) = evaluated(capsys, picks, truth, "--tolerance", 50, "--voxel-size", 10)
    assert counts(found["total"]) == (6, 12, 5)
    (found,) = evaluated(capsys, picks, truth, "--tolerance", 25, "--voxel-size", 10)
    assert counts(found["total"]) == (6, 12, 0)


def test_frames_that_differ_are_refused(results, capsys):
    picks = in_a_directory_of_its_own("set/particles_1_gabor_gmm.star")
    truth = write(Path("truth.cmm"), GRID)
    assert error(capsys, picks, truth, "--tolerance", 50) == (
        f"{picks}: is in angstrom from the tomogram's centre, but truth.cmm in angstrom with the "
        "origin in the tomogram's file; name the tomogram by --tomogram"
    )
    truth = write(Path("truth.star"), GRID)
    (found,) = evaluated(capsys, picks, truth, "--tolerance", 50)
    assert counts(found["total"]) == (6, 12, 5)
    assert "points are in angstrom from another place" in error(
        capsys, picks, truth, "--tolerance", 50, "--output", "points.csv"
    )


def test_lists_of_several_tomograms_by_other_programs(results, capsys):
    picks = in_a_directory_of_its_own("set/particles_gabor_gmm.star")
    lists = [particles_of(tomogram(results, n), picks_of(GRID)) for n in (1, 2, 3)]
    FORMATS["star"].write(Path("truth.star"), lists)
    (found,) = evaluated(capsys, picks, "truth.star", "--tolerance", 50)
    assert [counts(one) for one in found["tomograms"]] == [(6, 12, 5), (6, 12, 6), (0, 12, 0)]
    (found,) = evaluated(capsys, "truth.star", picks, "--tolerance", 50)
    assert [counts(one) for one in found["tomograms"]] == [(12, 6, 5), (12, 6, 6)]
    assert found["notes"] == ["without truth, left out: TS_03"]
    for number, one in enumerate(lists[:2], 1):
        FORMATS["star"].write(Path(f"TS_0{number}.star"), [one])
    (found,) = evaluated(capsys, picks, "{name}.star", "--tolerance", 50)
    assert counts(found["total"]) == (12, 24, 11)
    FORMATS["star"].write(
        Path("others.star"),
        [particles_of(tomogram(results, n), picks_of(GRID)) for n in (8, 9)],
    )
    assert error(capsys, picks, "others.star", "--tolerance", 50) == (
        f"{picks}: has no points in TS_08, TS_09; it has TS_01, TS_02"
    )
    bare = write(Path("bare.cmm"), GRID)
    for first, second in ((picks, bare), (bare, picks)):
        assert error(capsys, first, second, "--tolerance", 50) == (
            "bare.cmm: names no tomogram, and "
            f"{picks} has 2 (TS_01, TS_02); name the tomogram by --tomogram"
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "truth.csv", "--output", "no/x.csv"], "no/x.csv: its directory does not exist"),
        (["none", "truth.csv"], "none: no such file or directory; name picks, or the results of a"),
        (["set", "none.csv"], "none.csv: no such file; name an existing list of points"),
        (["empty", "truth.csv"], "empty: contains no particles_*.csv; name output_dir/dataset_nam"),
        (["set", "TS_09.txt"], "TS_09.txt: names no tomogram, and picks are of 2 (TS_01, TS_02)"),
        (["set", "other.csv"], "other.csv: has no points in TS_01, TS_02; it has TS_09"),
        (["set", "truth.npz"], "truth.npz: unknown format of points; its name must end with .csv"),
        (["set/particles_1_gabor_gmm.yaml", "truth.csv"], "particles_1_gabor_gmm.yaml: unknown fo"),
        (["set", "truth.csv", "--tomogram", "a.mrc"], "--tomogram: has no effect, because set is"),
        (["truth.csv", "truth.csv"], "truth.csv: picks have no known diameter; set --tolerance"),
        (["truth.csv", "{name}.csv"], "{name}.csv: no file of that name for TS_01"),
        (["TS_09.txt", "{name}.csv"], "TS_09.txt: names no tomogram, which {name}.csv asks for"),
        (["set/particles_1_gabor_gmm.relion4.star", "truth.csv"], "counts in unbinned voxels"),
        (["truth.csv", "truth.csv", "--tomogram", "bare.mrc"], "bare.mrc: has no voxel size; set"),
    ],
)
def test_errors_are_one_line(results, capsys, arguments, message):
    Path("empty").mkdir()
    Path("truth.npz").touch()
    Path("set/particles_1_gabor_gmm.relion4.star").touch()
    Path("TS_09.txt").write_text("1 2 3\n")
    write_tomogram("bare.mrc", voxel_size=0)
    truth_of(TS_09=GRID).rename("other.csv")
    truth_of(TS_01=GRID)
    options = [] if arguments[1] == "truth.csv" and len(arguments) == 2 else ["--voxel-size", "10"]
    if "--tomogram" in arguments:
        options = []
    if arguments == ["truth.csv", "truth.csv"]:
        options = ["--voxel-size", "10"]
    assert message in error(capsys, *arguments, *options)


def test_several_sizes_need_a_tolerance(results, capsys):
    truth_of(TS_01=GRID, TS_02=GRID)
    particles_in(tomogram(results, 1), diameter=[60.0, 100.0])
    assert error(capsys, "set", "truth.csv").startswith("gabor-gmm: picks have several diameters;")
    particles_in(tomogram(results, 1), diameter=120.0)
    assert "several diameters" in error(capsys, "set", "truth.csv")
    (found,) = evaluated(capsys, "set", "truth.csv", "--tolerance", 50)
    assert counts(found["total"]) == (12, 24, 11)


def test_tomograms_of_one_name_are_refused(results, capsys):
    particles_in(tomogram(results, 3, name="TS_01", tomogram=Path("b/TS_01.mrc")))
    truth_of(TS_01=GRID)
    told = "TS_01: several tomograms have this name; set name in inputs"
    assert error(capsys, "set", "truth.csv") == told


@pytest.mark.parametrize("value", ["0", "-3", "nan", "much"])
@pytest.mark.parametrize("option", ["--tolerance", "--beta", "--voxel-size"])
def test_options_must_be_positive(results, capsys, option, value):
    with pytest.raises(SystemExit) as stopped:
        main(["set", "truth.csv", option, value])
    assert stopped.value.code == 2
    assert f"{option}: must be a number" in capsys.readouterr().err


def test_a_run_and_a_later_pick(tmp_path, capsys, monkeypatch):
    """All 19 particles of the phantom are found; without candidates too."""
    monkeypatch.chdir(tmp_path)
    content = {
        "dataset_name": "set",
        "inputs": [{"tomogram": str(DATA / "phantom_a.mrc")}],
        "feature_extraction_params": [{"mode": "gabor"}],
        "clustering_methods": ["gmm"],
        "output_dir": "out",
        "report": False,
        "particles": {"diameter": 140},
    }
    with np.load(DATA / "phantom_a_truth.npz") as truth:
        z, y, x = truth["centers_zyx"].T
    table(Path("truth.csv"), x=x, y=y, z=z)
    run_s1(content, quiet=True)
    found = called(main, "out/set", "truth.csv", "--json")
    (one,) = json.loads(found.stdout)
    assert counts(one["total"]) == (19, 19, 19)
    assert one["total"]["best"]["F1"] == one["total"]["F1"] == 1
    pick_files(["out/set"], ParticleSettings(diameter=140.0, method="components"))
    one, components = evaluated(capsys, "out/set", "truth.csv")
    assert components["particles"] == "gabor-gmm-components"
    rows = rows_of(Path("out/set/particles_0_gabor_gmm_components.csv"))
    picks = np.array([[float(row[axis]) for axis in "zyx"] for row in rows])
    near = (cdist(picks, np.stack([z, y, x], axis=1)) * 13.48 <= 70).sum(axis=0)
    assert counts(components["total"]) == (len(rows), 19, (near > 0).sum())
    for path in Path("out/set").glob("*.npz"):
        path.unlink()
    for again, before in zip(
        evaluated(capsys, "out/set", "truth.csv"), (one, components), strict=True
    ):
        assert counts(again["total"]) == counts(before["total"])
        assert again["tolerance"] == 70
        assert again["total"]["best"] is None
    for ending in ("h5", "mrc"):
        Path(f"out/set/segmentation_0_gabor_gmm.{ending}").unlink()
    assert "nor a segmentation of its tomogram is in the same directory" in error(
        capsys, "out/set", "truth.csv"
    )


@pytest.mark.slow
def test_centres_of_the_demo_are_those_of_its_points():
    rows = rows_of(DATA / "hiv_vlp_40A_points.csv")
    points, normals = (
        np.array([[float(row[axis]) for axis in axes] for row in rows])
        for axes in ("zyx", ("nz", "ny", "nx"))
    )
    rows = rows_of(DATA / "hiv_vlp_40A_centres.csv")
    centres = np.array([[float(row[axis]) for axis in "zyx"] for row in rows])
    np.testing.assert_allclose(centres, sphere_centres(points, normals), atol=0.51e-3)


@pytest.mark.slow
def test_the_demo(tmp_path):
    root = DATA.parents[1]
    command = [sys.executable, "-m", "picket_gpu", "configs/demo.yaml", "--output-dir", tmp_path]
    subprocess.run(command, cwd=root, env=ENVIRONMENT, check=True, capture_output=True)
    found = run(tmp_path / "demo", DATA / "hiv_vlp_40A_centres.csv", "--json")
    (one,) = json.loads(found.stdout)
    assert counts(one["total"]) == (11, 9, 9)
    assert one["tolerance"] == 520
