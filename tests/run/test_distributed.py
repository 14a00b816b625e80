"""Runs on Dask's workers: the same files as in this process, whatever happens to a worker."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mrcfile
import pytest

pytest.importorskip("distributed")
from picket_gpu import PicketError, run_s1
from picket_gpu.__main__ import main
from picket_gpu.run import dask_cluster
from tests.support.command_line import the_error
from tests.support.pages import data_of
from tests.support.three_tomograms import (
    assert_complete,
    break_nan,
    checked,
    configure,
    labels,
    record,
    stamps,
    start,
    wait_for_line,
)
from tests.support.three_tomograms import place as place
from tests.support.three_tomograms import undisturbed as undisturbed


def descendants(process: int) -> set[int]:
    """Processes below a process, however deep."""
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout
    below: dict[int, list[int]] = {}
    for line in found.splitlines()[1:]:
        child, parent = map(int, line.split())
        below.setdefault(parent, []).append(child)
    children = set(below.get(process, []))
    return children.union(*(descendants(child) for child in children)) if children else set()


def alive(processes: set[int]) -> set[int]:
    return {p for p in processes if Path(f"/proc/{p}").exists() and not zombie(p)}


def zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_give_the_same_files_and_report(place, undisturbed):
    expected, _ = undisturbed
    process = start("--workers", "2")
    out, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (0, "")
    assert_complete(Path("out/set"), expected)
    lines = [line for line in out.splitlines() if line.startswith("[")]
    told = r"\[(\d) of 3\] tomogram (\d), t\2.mrc: 4 segmentations, \d+\.\d s(; .* left)?"
    places, numbers, left = zip(*(re.fullmatch(told, line).groups() for line in lines), strict=True)
    assert places == ("1", "2", "3")
    assert sorted(numbers) == ["0", "1", "2"]
    assert [bool(one) for one in left] == [False, True, False]
    assert "foreground," not in out
    assert {unit["status"] for unit in record()["units"]} == {"done"}
    assert {unit["worker"] for unit in record()["units"]} == {"worker 0", "worker 1"}
    assert all(unit["device"].startswith("CPU, 1 thread") for unit in record()["units"])
    checked(record())
    pages = [data_of(Path(f"out/set/report_{n}.html").read_text()) for n in range(3)]
    run_s1("params.yaml", overwrite=True, quiet=True)
    for number, ours in enumerate(pages):
        theirs = data_of(Path(f"out/set/report_{number}.html").read_text())
        for key in ("grey", "places", "histogram"):
            assert ours[key] == theirs[key]
        for one, other in zip(ours["workflows"], theirs["workflows"], strict=True):
            assert {k: v for k, v in one.items() if k != "seconds"} == {
                k: v for k, v in other.items() if k != "seconds"
            }


@pytest.mark.slow
def test_workers_pick_and_write_pages(place):
    configure(particles={"diameter": 140})
    here = run_s1("params.yaml", quiet=True)
    configure(particles={"diameter": 140}, output_dir="other")
    there = run_s1("params.yaml", workers=2, quiet=True)
    for one, other in zip(there.particles, here.particles, strict=True):
        assert (one.coordinates == other.coordinates).all()
        assert one.path.read_bytes() == other.path.read_bytes()
    pages = [data_of(Path(f"{out}/set/report_1.html").read_text()) for out in ("out", "other")]
    assert pages[0]["picked"] == pages[1]["picked"]
    assert pages[0]["links"] == {
        "index": "report.html",
        "previous": "report_0.html",
        "next": "report_2.html",
    }


@pytest.mark.slow
def test_a_page_that_is_missing_comes_back_where_all_is_done(place):
    run_s1("params.yaml", quiet=True)
    page = Path("out/set/report_1.html")
    before = data_of(page.read_text())
    page.unlink()
    assert all(result.reused for result in run_s1("params.yaml", workers=1, quiet=True))
    after = data_of(page.read_text())
    assert [w["bits"] for w in after["workflows"]] == [w["bits"] for w in before["workflows"]]


def test_one_way_to_reach_workers_is_enough(place):
    with pytest.raises(PicketError, match="only one of them"):
        run_s1("params.yaml", workers=1, scheduler="tcp://127.0.0.1:1", quiet=True)


@pytest.mark.slow
def test_workers_share_the_cores(place, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    from picket_gpu.run.dask_cluster import local_cluster

    with local_cluster(2, False) as client:
        told = client.run(lambda: os.environ["OMP_NUM_THREADS"])
    assert list(told.values()) == ["2", "2"]
    assert os.environ["OMP_NUM_THREADS"] == "4"  # of what this process does next


def test_a_bad_tomogram_on_workers(place, capsys):
    break_nan(place / "t1.mrc")
    assert main(["params.yaml", "--workers", "2"]) == 1
    captured = capsys.readouterr()
    message = the_error(captured.err)
    assert "t1.mrc" in message
    assert "NaN" in message
    assert captured.out.count("FAILED") == 1
    failed = [unit for unit in record()["units"] if unit["status"] == "failed"]
    assert [(unit["index"], unit["mode"]) for unit in failed] == [(1, None)]
    assert {name.split("_")[1] for name in stamps()} == {"0", "2"}


test_a_bad_tomogram_on_workers = pytest.mark.filterwarnings(
    "ignore:Data array contains NaN values:RuntimeWarning"
)(test_a_bad_tomogram_on_workers)


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_the_run_completes(place, undisturbed):
    expected, _ = undisturbed
    process = start("--workers", "2")
    wait_for_line(process, "[1 of 3]")
    workers = [p for p in descendants(process.pid) if b"spawn_main" in cmdline(p)]
    os.kill(workers[0], signal.SIGKILL)
    out, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint + out
    assert_complete(Path("out/set"), expected)


def cmdline(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_by_a_signal_no_process_and_no_half_file_stays(place, undisturbed, sent):
    expected, _ = undisturbed
    process = start("--workers", "2")
    wait_for_line(process, "[1 of 3]")
    below = descendants(process.pid)
    assert len(below) >= 2
    process.send_signal(sent)
    process.communicate(timeout=30)
    wait_until(lambda: not alive(below), 15)
    if sent != signal.SIGKILL:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[sent]
        assert not [path for path in Path("out/set").iterdir() if path.name.startswith(".")]
    assert main(["params.yaml", "--quiet"]) == 0
    assert_complete(Path("out/set"), expected)


def test_a_client_of_a_running_cluster(place, undisturbed, tmp_path):
    from distributed import Client, LocalCluster

    expected, _ = undisturbed
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=":0", silence_logs="CRITICAL"
    )
    with cluster, Client(cluster) as client:
        run = run_s1("params.yaml", client=client, quiet=True)
        assert len(run) == 12
        assert_complete(Path("out/set"), expected)
        file = tmp_path / "scheduler.json"  # as dask scheduler --scheduler-file writes it
        file.write_text(json.dumps({"type": "Scheduler", "address": cluster.scheduler_address}))
        for scheduler in (cluster.scheduler_address, str(file)):
            configure(output_dir=f"out-{len(scheduler)}")
            assert main(["params.yaml", "--scheduler", scheduler, "-q"]) == 0
            found = labels(Path(f"out-{len(scheduler)}/set"))
            assert all((found[name] == expected[name]).all() for name in expected)
            assert found.keys() == expected.keys()


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_that_the_cores_are_too_few_for(place, monkeypatch, workers):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(PicketError, match=f"workers: {workers} cannot share 2 threads"):
        run_s1("params.yaml", workers=workers, quiet=True)


@pytest.mark.slow
def test_a_terminal_s_ctrl_c_says_one_word(place):
    """It goes to the workers too."""
    process = start("--workers", "2", start_new_session=True)
    wait_for_line(process, "[1 of 3]")
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (130, "interrupted\n")


@pytest.mark.slow
def test_a_scheduler_that_dies_is_told_of(place):
    from distributed import Client

    address = "tcp://127.0.0.1:8997"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    with subprocess.Popen([*command, "--port", "8997"], stderr=subprocess.DEVNULL) as scheduler:
        with Client(address, timeout=20):
            process = start("--scheduler", address)
            wait_for_line(process, "Waiting for workers")
        scheduler.kill()
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "lost the Dask scheduler" in the_error(complaint)


@pytest.mark.slow
def test_cancelled_units_end_on_workers_of_others_too(place, monkeypatch):
    """Those that run as well as those that wait."""
    from distributed import Client, LocalCluster

    monkeypatch.setattr("picket_gpu.run.runner.Outcome.take", interrupted)
    configure(feature_extraction_params=[{"mode": "intensities"}])
    options = {"n_workers": 1, "dashboard_address": None, "silence_logs": "CRITICAL"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        with pytest.raises(KeyboardInterrupt):
            run_s1("params.yaml", client=client, quiet=True)
        wait_until(lambda: not any(client.processing().values()))
        assert {name.split("_")[1] for name in stamps()} == {"0"}


def interrupted(*_) -> None:
    raise KeyboardInterrupt


def test_no_scheduler_is_an_error(place, monkeypatch):
    monkeypatch.setattr(dask_cluster, "ANSWER", 1)
    with pytest.raises(PicketError, match=r"scheduler: tcp://.* does not answer"):
        run_s1("params.yaml", scheduler="tcp://127.0.0.1:1", quiet=True)


def test_json_log(place):
    process = start("--log-format", "json")
    out, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    units = [event for event in events if event["event"] == "unit"]
    assert [(unit["index"], unit["mode"], unit["status"]) for unit in units] == [
        (index, mode, "done") for index in range(3) for mode in ("gabor", "intensities")
    ]
    for unit, recorded in zip(units, record()["units"], strict=True):
        assert recorded.items() <= unit.items()
    assert {event["event"] for event in events} == {"line", "status", "unit"}


@pytest.mark.slow
def test_json_log_of_workers(place):
    process = start("--log-format", "json", "--workers", "2")
    out, complaint = process.communicate(timeout=120)
    assert (process.returncode, complaint) == (0, "")
    told: dict[str, list[str]] = {}
    for event in map(json.loads, out.splitlines()):
        if event["event"] == "status":
            told.setdefault(event["worker"], []).append(event["text"])
    assert told.keys() == {"worker 0", "worker 1"}
    for texts in told.values():
        assert texts[0].endswith("reading, blurring")
        assert texts[-1] == ""
    # A tomogram is read once, whatever the number of its feature modes.
    read = [text for texts in told.values() for text in texts if "reading" in text]
    assert sorted(read) == [f"t{number}.mrc: reading, blurring" for number in range(3)]


@pytest.mark.slow
def test_a_cluster_is_asked_for_its_own_gpu(place, monkeypatch):
    """A scheduler may be reached from a machine that has no GPU."""
    from distributed import Client, LocalCluster

    configure(device="gpu")
    monkeypatch.setattr("picket_gpu.pipeline.select_backend", None)
    options = {"n_workers": 1, "dashboard_address": ":0", "silence_logs": "CRITICAL"}
    with (
        LocalCluster(**options) as cluster,
        Client(cluster) as client,
        pytest.raises(PicketError, match=r"device: gpu cannot be used"),
    ):
        run_s1("params.yaml", client=client, quiet=True)


def test_what_is_sent_with_a_task_does_not_grow_with_the_number_of_tomograms(place):
    from distributed.protocol.pickle import dumps

    from picket_gpu.config.load import load_config
    from picket_gpu.device.select import select_backend
    from picket_gpu.run.distributed import _with_input_of
    from picket_gpu.run.plan import plan_run

    sizes = []
    for number in (3, 300):
        names = [f"x{n}.mrc" for n in range(number - 3)]
        configure(
            inputs=[{"tomogram": f"t{n}.mrc"} for n in range(3)] + [{"tomogram": n} for n in names]
        )
        config = load_config("params.yaml")
        plans = plan_run(config, select_backend("cpu"), False, [0, 1, 2]).tomograms
        sent = _with_input_of(config, plans[1])
        assert sent.inputs == [config.inputs[1]]
        sizes.append(len(dumps((sent, plans[1]))))
    assert sizes[1] < sizes[0] + 10  # the number of tomograms has more digits


@pytest.mark.slow
def test_workers_warnings_are_told_under_their_tomogram_and_at_the_end(place, capsys):
    with mrcfile.open("t1.mrc", "r+") as mrc:
        mrc.data[:7] = 0
    assert main(["params.yaml", "--workers", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line, again = [line for line in lines if "warning" in line]
    assert line == again
    assert ": 4 segmentations, " in lines[lines.index(line) - 1]
    assert lines[-3:-1] == ["Look at these first:", line]
    assert line.startswith("  warning: t1.mrc: ")
    assert "of the voxels are padding with the value 0;" in line
    warned = [unit["tomogram"] for unit in record()["units"] if unit["warnings"]]
    assert warned == ["t1.mrc"] * 2


def test_workers_that_cannot_be_started_are_told_in_a_line(place, capsys, monkeypatch):
    def refuse(**options):
        try:
            raise OSError("no such interpreter")
        except OSError as cause:
            raise RuntimeError("Nanny failed to start.") from cause

    monkeypatch.setattr("distributed.LocalCluster", refuse)
    assert main(["params.yaml", "--workers", "1"]) == 2
    assert the_error(capsys.readouterr().err) == (
        "workers: 1 cannot be started (no such interpreter); run without them"
    )
