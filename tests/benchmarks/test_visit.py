"""A visit to a GPU machine: what is packed, and what is left when it is cut short."""

import ast
import json
import signal
import subprocess
import sys
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.speed.cases import SUITES
from benchmarks.speed.profile import READ, SPIN, SPIN_SOURCE, TIME, WRITTEN, kernels
from benchmarks.visit import pack
from benchmarks.visit.gpu_tests import run_each_alone
from benchmarks.visit.pack import START, copy_files
from benchmarks.visit.page import AGREE, LIMIT, PASSES, page
from benchmarks.visit.plan import CASE, SMALL, STAND_IN, STEPS, Step, case_of, chosen
from benchmarks.visit.runner import SHARE, Visit, last_result
from picket_gpu.device.gpu import find_gpu
from tests.support.data import ROOT, untraced

HEADING = {"suite": "gpu", "git_commit": "abc", "device": "none"}
# What a machine for measurements is known to hold, by the names of imports, and what is packed.
THERE = {"numpy", "scipy", "h5py", "cupy", "cupyx", "sklearn", "pytest", "rich", "yaml", "PIL"}
PACKED = {"picket_gpu", "mrcfile", "threadpoolctl", "pydantic", "pydantic_core"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    copy_files(ROOT, folder)
    return folder


def imports(file, everywhere):
    """Names of modules that ``file`` imports when it is imported, or ``everywhere`` in it."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_packed_files_import_of_ours_is_packed(folder):
    files = list(folder.rglob("*.py"))
    assert len(files) > 20
    for file in files:
        for name in imports(file, everywhere=True):
            if name.split(".")[0] in ("tests", "benchmarks"):
                path = name.replace(".", "/")
                for place in (folder / path, folder / f"{path}.py"):
                    source = ROOT / place.relative_to(folder)
                    assert place.exists() or not source.exists(), (file, name)


def test_nothing_else_is_needed_there(folder):
    known = THERE | PACKED | set(sys.stdlib_module_names) | {"tests", "benchmarks"}
    for file in [*folder.rglob("*.py"), *(ROOT / "src").rglob("*.py")]:
        needed = {name.split(".")[0] for name in imports(file, everywhere=False)}
        assert needed <= known, file


def test_the_data_of_the_gpu_tests_are_packed_and_small(folder):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert (folder / START).exists()
    assert {"hiv_vlp_40A.mrc", "phantom_a.mrc", "hiv_vlp_40A.npz"} <= {f.name for f in files}
    assert sum(file.stat().st_size for file in files) < 8 * 2**20


def test_a_folder_is_packed_by_a_relative_path(tmp_path, monkeypatch):
    def pip(command, check, cwd):  # which runs elsewhere, and takes paths from there
        target = next(w for flag, w in pairwise(command) if flag in ("-w", "-d"))
        (Path(cwd) / target).mkdir(parents=True, exist_ok=True)
        (Path(cwd) / target / f"{command[4]}-1.whl").touch()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pack, "commit", lambda: "abc")
    monkeypatch.setattr(pack.subprocess, "run", pip)
    pack.pack(ROOT, Path("build/visit"), "3.12")
    about = json.loads((tmp_path / "build/visit/folder.json").read_text())
    assert about["wheels"] == ["download-1.whl", "wheel-1.whl"]
    assert (tmp_path / "build/visit" / START).exists()


def test_steps_are_in_order_of_importance():
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not name.startswith(CASE)] == [
        "machine",
        "rates",
        "tests",
        "agreement",
        "failed tests, each alone",
        "stages",
        "profile",
        "profile by kernel",
        "tiles",
        "rivals",
    ]
    cases = [n for n in names if n.startswith(CASE)]
    assert cases == [CASE + c.name for c in SUITES["gpu"]]
    assert [n.startswith(CASE) for n in names[4:7]] == [True] * 3
    assert names[6].startswith("case: 512 x 1024 x 1024")
    assert names[names.index("tiles") + 1] == cases[3] == "case: the same, memory as it comes"
    assert [step.name for step in STEPS if step.needed] == ["machine"]


def test_steps_are_chosen_by_how_their_names_begin():
    def names(only, skip):
        return [step.name for step in chosen(only, skip)]

    assert chosen([], []) == list(STEPS)
    only = ["machine", "rates", "tests", "agreement", "case: demo", "case: 512", "failed tests"]
    assert names([*only, "stages"], ["case: demo, GPU,"]) == [
        "machine",
        "rates",
        "tests",
        "agreement",
        "case: demo, CPU",
        "case: demo, GPU",
        "case: 512 x 1024 x 1024, cap 1e8, 12 GiB",
        "failed tests, each alone",
        "stages",
    ]
    assert names(["stages", "profile", "tiles", "case: the same"], []) == [
        "stages",
        "profile",
        "profile by kernel",
        "tiles",
        "case: the same, memory as it comes",
        "case: the same, 2 GiB",
        "case: the same, command line",
        "case: the same, TF32",
        "case: the same, 1 GiB",
    ]
    with pytest.raises(SystemExit, match="no step begins with 'case: 511'; steps are: machine;"):
        chosen(["case: 511"], [])


@pytest.mark.parametrize("name", [s.name for s in STEPS if s.name.startswith(CASE)])
def test_a_rehearsed_case_is_small_and_named_so(name):
    case = case_of(name, rehearse=True)
    assert case.shape == SMALL
    assert case.name.startswith("rehearsal")
    assert case.judge is None or case.judge.startswith("rehearsal")
    assert CASE + case_of(name, rehearse=False).name == name


def python(code):
    return [sys.executable, "-c", f"import json, sys, time, subprocess\n{code}"]


def tell(update):
    return f"print(json.dumps({update!r}), flush=True)"


def visit(file, codes, seconds=60.0, limit=30.0, heading=HEADING):
    """Run one step for each of ``codes``; the result as the file has it."""
    steps = [Step(name, limit, needed=name == "needed") for name in codes]
    result = Visit(file, heading)
    result.run(steps, lambda step: python(codes[step.name]), file.parent, seconds)
    assert json.loads(file.read_text()) == result.result
    return result.result


def statuses(result):
    return {name: state["status"] for name, state in result["steps"].items()}


def test_the_file_is_saved_after_every_step(tmp_path):
    file = tmp_path / "visit.json"
    look = f"print(json.dumps({{'seen': json.load(open({str(file)!r}))}}), flush=True)"
    seen = visit(file, {"one": tell({"a": {"x": 1}}), "two": look})["seen"]
    assert seen["a"] == {"x": 1}
    assert statuses(seen) == {"one": "done", "two": "running"}
    assert not list(tmp_path.glob("*.part"))


def test_a_step_that_fails_leaves_what_it_had_and_the_next_goes_on(tmp_path):
    codes = {
        "raises": f"{tell({'cases': {'a': 1}})}\nraise ValueError('no')",
        "dies": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "works": tell({"cases": {"b": 2}}),
    }
    result = visit(tmp_path / "visit.json", codes)
    assert statuses(result) == {"raises": "failed", "dies": "failed", "works": "done"}
    assert "ValueError: no" in result["steps"]["raises"]["error"]
    assert "exit code -9" in result["steps"]["dies"]["error"]
    assert result["cases"] == {"a": 1, "b": 2}


@pytest.mark.slow
def test_a_step_beyond_its_limit_ends_with_its_children(tmp_path):
    sleep = "time.sleep(60)"
    child = f"p = subprocess.Popen([sys.executable, '-c', 'import time; {sleep}'])"
    code = f"{child}\nprint(json.dumps({{'child': p.pid}}), flush=True)\n{sleep}"
    result = visit(tmp_path / "visit.json", {"slow": code, "next": tell({"b": 2})}, limit=1.0)
    assert statuses(result) == {"slow": "timed out", "next": "done"}
    assert not running(result["child"])
    assert result["b"] == 2


def running(process):
    """Whether a process is there and no zombie."""
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.slow
def test_what_time_does_not_reach_is_said_and_done_when_continued(tmp_path):
    file = tmp_path / "visit.json"
    codes = {"ends": "sys.exit(3)", "long": "time.sleep(60)", "last": tell({"c": 3})}
    result = visit(file, codes, seconds=6.0)
    assert statuses(result) == {"ends": "failed", "long": "cut off", "last": "not started"}
    assert result["steps"]["long"]["seconds"] < SHARE * 6 + 1  # and not all that was left
    again = {"ends": tell({"never": 1}), "long": tell({"b": 2}), "last": tell({"c": 3})}
    result = visit(file, again)
    assert statuses(result) == {"ends": "failed", "long": "done", "last": "done"}
    assert (result["b"], result["c"], "never" in result) == (2, 3, False)


def test_a_visit_ends_where_what_is_needed_fails(tmp_path):
    file = tmp_path / "visit.json"
    codes = {"needed": "sys.exit('no')", "next": tell({"b": 2})}
    assert statuses(visit(file, codes)) == {"needed": "failed"}
    again = {"needed": tell({"a": 1}), "next": tell({"b": 2})}  # is tried again, to go on
    assert statuses(visit(file, again)) == {"needed": "done", "next": "done"}


@pytest.mark.skipif(not isinstance(find_gpu(), str), reason="there is a GPU")
def test_without_a_gpu_a_visit_ends_at_once_and_shows_what_cupy_sees(tmp_path):
    pytest.importorskip("cupy")
    command = [sys.executable, "-m", "benchmarks.visit", "run", "--output", "new/visit.json"]
    environment = {**untraced(), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    process = subprocess.run(command, check=False, **options)
    assert process.returncode == 1
    result = json.loads((tmp_path / "new/visit.json").read_text())
    assert statuses(result) == {"machine": "failed"}
    error = result["steps"]["machine"]["error"]
    assert "CuPy Version " in error
    assert "CUDA Root " in error
    assert error.splitlines()[-1].startswith("device: gpu cannot be used: ")
    assert error in process.stdout
    assert "next: no GPU was found" in process.stdout


@pytest.mark.parametrize("key", HEADING)
def test_a_file_of_another_visit_is_not_continued(tmp_path, key):
    file = tmp_path / "visit.json"
    visit(file, {"one": tell({"a": 1})})
    before = file.read_text()
    with pytest.raises(SystemExit, match=f"visit.json: {key} is .*, this visit's is other; give"):
        Visit(file, {**HEADING, key: "other"})
    assert file.read_text() == before


@pytest.mark.slow
def test_a_signal_leaves_what_was_done(tmp_path):
    pytest.importorskip("cupy")
    file = tmp_path / "visit.json"
    command = [sys.executable, "-m", "benchmarks.visit", "run", "--rehearse", "--output", file]
    environment = {**untraced(), "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    options = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stderr=subprocess.PIPE, **options) as process:
        while not process.stdout.readline().startswith("[3/"):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert process.stderr.read().strip() == f"interrupted; {file} has what was done"
    result = json.loads(file.read_text())
    assert statuses(result) == {"machine": "done", "rates": "done", "tests": "cut off"}
    assert result["suite"] == "rehearsal"
    assert result["device"] == result["machine"]["device"] == STAND_IN
    assert result["machine"]["bytes_per_second"] > 1e6
    assert 0 < result["machine"]["float32_error"] < 2e-6
    assert list(tmp_path.iterdir()) == [file]  # temporary files are gone


@pytest.mark.slow
def test_a_step_ends_when_its_runner_is_killed(tmp_path):
    (tmp_path / "visit.json").write_text("{}")
    # A step that waits in the main thread for what never comes, and its runner.
    step = (
        "import benchmarks.visit.step as step\n"
        "step.run_step = lambda *_: iter(lambda: print('on', flush=True) or time.sleep(60), 1)\n"
        "from benchmarks.visit.__main__ import main\n"
        f"main(['step', 'x', {str(tmp_path / 'visit.json')!r}, '.'])"
    )
    runner = (
        f"p = subprocess.Popen({python(step)!r}, start_new_session=True)\n"
        "print(p.pid, flush=True)\np.wait()"
    )
    environment = {**untraced(), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    options = {"stdout": subprocess.PIPE, "env": environment, "text": True}
    with subprocess.Popen(python(runner), **options) as process:
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "on\n"
        assert running(child)
        process.kill()
    deadline = time.monotonic() + 20
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(child)


def test_gpu_tests_tell_their_outcomes_as_they_come():
    code = "from benchmarks.visit.gpu_tests import run_all\nsys.exit(run_all('says_which or near'))"
    process = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(last_result(process.stdout))
    outcomes = result["test_outcomes"]
    assert set(outcomes) == {
        "tests/device/test_gpu.py::test_it_says_which_gpu_and_whose_kmeans",
        "tests/device/test_gpu.py::test_near_places",
    }
    assert result["tests"] in ("2 skipped", "2 passed")
    if result["tests"] == "2 skipped":
        assert all("needs a GPU" in outcome["text"] for outcome in outcomes.values())


def test_failed_tests_run_alone_before_those_that_were_not_run():
    file = "tests/device/test_gpu.py"
    outcomes = {
        f"{file}::test_near_places": {"outcome": "not run"},
        f"{file}::test_copies_by_staging": {"outcome": "passed"},
        f"{file}::test_nothing": {"outcome": "failed"},
    }
    *_, alone = run_each_alone(outcomes)
    assert list(alone) == [f"{file}::test_nothing", f"{file}::test_near_places"]
    assert "not found: " in alone[f"{file}::test_nothing"]
    assert alone[f"{file}::test_near_places"] == "passed"  # or skipped, which is no failure


def test_a_line_that_is_cut_off_is_no_result():
    assert last_result('{"a": 1}\n.F{"a": 2}\n{"a": 3') == '{"a": 1}'
    assert last_result('{"a": 1}\n{"a": \nend\n') == '{"a": 1}'
    assert last_result("Traceback\n") is None


@pytest.fixture
def small_folder(tmp_path):
    """A folder with one wheel, and a program that says what it sees of it."""
    folder = tmp_path / "folder"
    (folder / "wheels").mkdir(parents=True)
    (folder / "benchmarks" / "visit").mkdir(parents=True)
    with zipfile.ZipFile(folder / "wheels" / "tiny-7.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr(
            "tiny-7.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 7.1\n"
        )
    show = "import importlib.metadata, tiny; print(importlib.metadata.version('tiny'))"
    (folder / "benchmarks" / "visit" / "__main__.py").write_text(
        "import os, subprocess, sys\n"
        "def main(arguments):\n"
        f"    subprocess.run([sys.executable, '-c', {show!r}], check=True, cwd='/')\n"
        "    print(arguments, os.environ['PICKET_GPU_COMMIT'], flush=True)\n"
    )
    source = ROOT / "benchmarks" / "visit" / "start.py"
    (folder / START).write_bytes(source.read_bytes())
    return folder


def start(folder, python, *arguments):
    (folder / "folder.json").write_text(json.dumps({"python": python, "git_commit": "abc"}))
    command = [sys.executable, "-S", str(folder / START), *arguments]
    environment = {k: v for k, v in untraced().items() if k != "PYTHONPATH"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_folder_needs_no_installer(small_folder):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    process = start(small_folder, version, "--minutes", "3")
    assert process.stdout.splitlines() == ["7.1", "['run', '--minutes', '3'] abc"], process.stderr


def test_wheels_for_another_python_are_refused(small_folder):
    process = start(small_folder, "3.9")
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert process.returncode == 1
    assert process.stderr.strip() == (
        f"error: the wheels are for Python 3.9, this is {this}; use that"
    )


def test_kernels_are_added_up_by_stage():
    def row(kernel, metric, value):
        return f'"0","1","{kernel}","{metric}","{value}"'

    def launch(kernel, nanoseconds, read, written):
        yield row(kernel, READ, read)
        yield row(kernel, WRITTEN, written)
        yield row(kernel, TIME, nanoseconds)

    lines = [
        "==PROF== Connected to process 1",
        '"ID","Process ID","Kernel Name","Metric Name","Metric Value"',
        *launch("stage_begins", 900, 0, 0),
        *launch("box_windows", "1,500", 10, 20),
        *launch("gemm", 4000, 1, 2),
        *launch("box_windows", 500, 10, 20),
        *launch("stage_begins", 900, 0, 0),
        *launch("gemm", 3000, 0, 0),
    ]
    assert kernels(lines, ["first", "second"]) == {
        "first": [
            {"kernel": "gemm", "calls": 1, "microseconds": 4.0, "bytes": 3},
            {"kernel": "box_windows", "calls": 2, "microseconds": 2.0, "bytes": 60},
        ],
        "second": [{"kernel": "gemm", "calls": 1, "microseconds": 3.0, "bytes": 0}],
    }


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_the_kernel_that_spins_compiles(architecture):
    pytest.importorskip("cupy", reason="cupy brings NVRTC's interface")
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(SPIN_SOURCE, "spin.cu", [], [])
    nvrtc.compileProgram(program, [f"--gpu-architecture={architecture}"])
    assert SPIN.encode() in nvrtc.getCUBIN(program)


@pytest.fixture
def found():
    """A whole result, with more than a page has room for."""
    text = "\n".join(["def test():", "E   AssertionError: " + "x" * 3000])
    test = {"outcome": "failed", "text": text}
    names = [f"tests/device/test_gpu.py::test_{number}" for number in range(40)]
    share = {"microseconds_per_1000_windows": 1.5, "share_of_matrix_rate": 0.4}
    rows = [f"{name}, one pass" for name in PASSES]
    kernel = {"kernel": "k" * 100, "calls": 29, "microseconds": 2900.0, "bytes": 1}
    case = {"seconds": 12.0, "peak_host_mib": 4000.0, "stages": {"files": 7.0}}
    mode = {"features": 0.1, "kmeans": 0.2, "gmm": 0.3, "labels": 0.4}
    case |= {"peak_pool_mib": 9000.0, "by_mode": {"ffts": mode}, "agreement": {"ffts_gmm": 0.99}}
    return {
        **HEADING,
        "steps": {step.name: {"status": "done", "seconds": 9.0} for step in STEPS},
        "machine": {
            "bytes_per_second": 4.3e12,
            "flops_per_second": 5e13,
            "float64_flops_per_second": 6e13,
            "float32_error": 5e-7,
        },
        "tests": "1 passed, 40 failed",
        "test_outcomes": dict.fromkeys(names, test),
        "tests_alone": {names[0]: "passed", names[1]: "FAILED"},
        "agreement": {"demo": {"ffts-gmm": {"same": AGREE - 1e-4}, "gabor-gmm": {"same": AGREE}}},
        "cases": {case_name.name: case for case_name in SUITES["gpu"]},
        "stages": [{"name": name, **share, "share_of_bandwidth": 0.3} for name in rows],
        "profile": [{"name": name, "seconds": 0.01, "share": 0.6} for name in rows],
        "tiles": [{"name": name, "tile_mib": m, **share} for name in rows for m in (16, 64, 256)],
        "profile_by_kernel": {"stages": {name: [kernel] * 9 for name in rows}},
    }


def test_the_page_fits_a_reply_and_has_what_matters(found):
    text = page(found)
    assert len(text) <= LIMIT < 12_000
    lines = text.splitlines()
    assert "demo: ffts-gmm 0.999400 <-- LOW; gabor-gmm 0.999500" in lines
    assert any(line.startswith("test_0 (passed alone): AssertionError: xx") for line in lines)
    assert any(line.startswith("test_1 (also alone): ") for line in lines)
    assert "and 25 more" in lines
    assert any("features 0.10 / 0.09, kmeans 0.20 / 0.15, gmm 0.30 / 0.34" in li for li in lines)
    assert "ffts: EM, one pass: 1.5 / 1.0, 0.40, 0.30" in lines
    assert any(line.startswith("ffts: moments, one pass: kkk") for line in lines)
    assert lines[-1].startswith("== next: tests failed; agreement below 0.9995. Hand")


def test_the_page_says_that_products_are_not_float32(found):
    found["machine"]["float32_error"] = 3e-4
    assert "error 3.0e-04  <-- NOT FLOAT32, float64" in page(found)
    assert "next: products are not float32" in page(found)


def test_the_page_takes_whatever_is_there(found):
    assert "all is well" in page(HEADING)
    for key in found:
        page({name: value for name, value in found.items() if name != key})
    assert "(_stages: KeyError: 'microseconds_per_1000_windows')" in page(
        {"stages": [{"name": ""}]}
    )
    found["steps"] = {f"{n}": {"status": "failed", "error": "e" * 999} for n in range(99)}
    assert len(page(found)) <= LIMIT
    assert page(found).splitlines()[-1].startswith("== next: ")
