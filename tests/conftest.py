"""Data and small volumes that several tests use."""

import os
import signal

import mrcfile
import numpy as np
import pytest

from picket_gpu.device.gpu import find_gpu
from picket_gpu.device.select import select_backend
from tests.support.data import DATA

# While a test runs: plugins that others have installed may warn when pytest starts.
WARNINGS = (
    "error",
    # fsspec keeps its sessions until the process ends.
    "ignore:Unclosed (client session|connector):ResourceWarning",
    # mrcfile 1.5 under NumPy 2.5
    "ignore:Setting the dtype on a NumPy array has been deprecated:DeprecationWarning",
)
PASSED = "picket_gpu/passed"


def pytest_configure(config):
    """Processes that share the cores have no use for threads of BLAS that wait for each other."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of jobs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--rest", action="store_true", help="leave out what passed in the last run")


def pytest_sessionfinish(session):
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")  # workers of xdist have none
    passed = [report.nodeid for report in reporter.stats.get("passed", [])] if reporter else []
    if passed and hasattr(config, "cache"):
        config.cache.set(PASSED, passed + (_passed_before(config) if config.option.rest else []))


def _passed_before(config):
    return config.cache.get(PASSED, [])


def pytest_collection_modifyitems(config, items):
    if config.option.rest:
        passed = set(_passed_before(config))
        items[:] = [item for item in items if item.nodeid not in passed]
    if not config.option.pythonwarnings:  # -W
        for item in items:  # before its own marks, which go further
            item.add_marker(pytest.mark.filterwarnings(*WARNINGS), append=False)
    _skip_without_gpu([item for item in items if item.get_closest_marker("gpu")])


def _skip_without_gpu(items):
    """Say what was found in place of a GPU."""
    if items and isinstance(found := find_gpu(), str):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {found}"))


@pytest.fixture(autouse=True)
def _environment_kept():
    """A cluster that a test starts itself leaves Dask's OMP_NUM_THREADS in this process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def backend():
    return select_backend("cpu")


@pytest.fixture(scope="session")
def phantom():
    """19 ellipsoids in noise, (32, 96, 96) float32, particles dark."""
    return mrcfile.read(DATA / "phantom_a.mrc")


@pytest.fixture(scope="session")
def hiv():
    """The demo tomogram, (101, 135, 135) int8."""
    return mrcfile.read(DATA / "hiv_vlp_40A.mrc")


@pytest.fixture
def noise():
    """A small volume without structure, (13, 14, 15) float32 in [0, 1)."""
    return np.random.default_rng(1).random((13, 14, 15), dtype=np.float32)
