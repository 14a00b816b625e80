"""What the extras for GPUs install, by pip and by conda."""

import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_a_gpu_extra_brings_cupy_and_the_libraries_that_it_calls(cuda):
    (cupy,) = map(Requirement, EXTRAS[f"cuda{cuda}"])
    assert (cupy.name, cupy.extras) == (f"cupy-cuda{cuda}x", {"ctk"})
    ours, cuml = map(Requirement, EXTRAS[f"cuml-cu{cuda}"])
    assert (ours.name, ours.extras) == ("picket-gpu", {f"cuda{cuda}"})
    assert cuml.name == f"cuml-cu{cuda}"


def test_conda_and_the_tests_ask_for_the_same_versions():
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {r.name: r for r in map(Requirement, filter(lambda x: isinstance(x, str), lines[2:]))}
    cupy, cuml = Requirement(EXTRAS["cuda13"][0]), Requirement(EXTRAS["cuml-cu13"][1])
    tests = {r.name: r for r in map(Requirement, EXTRAS["test-gpu"])}
    assert conda["cupy"].specifier == tests[cupy.name].specifier == cupy.specifier
    assert conda["cuml"].specifier == tests["rmm-cu13"].specifier == cuml.specifier


def test_the_installed_cupy_has_the_extra():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    import cupy

    (name,) = {"cupy", "cupy-cuda12x", "cupy-cuda13x"} & {cupy_distribution()}
    assert "ctk" in metadata(name).get_all("Provides-Extra")
    assert cupy.__version__ in Requirement(EXTRAS["cuda13"][0]).specifier


def cupy_distribution():
    from importlib.metadata import packages_distributions

    return packages_distributions()["cupy"][0]
