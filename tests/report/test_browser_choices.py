"""Answers given in a page, and the list that the command makes of them, are one list."""

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("selenium")
from picket_gpu import load_config, run_s1
from picket_gpu.pick import main
from tests.support.chromium import (
    assert_no_complaint,
    needs_chromium,
    open_page,
    saved,
    the,
)
from tests.support.data import DATA

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    content = {
        "dataset_name": "set",
        "inputs": [{"tomogram": DATA / "phantom_a.mrc"}],
        "feature_extraction_params": [{"mode": "gabor"}],
        "particles": {"diameter": 180},
        "output_dir": tmp_path_factory.mktemp("choices"),
        "device": "cpu",
    }
    config = load_config(content)
    run_s1(config, quiet=True)
    return config.directory


def rows(path: Path) -> np.ndarray:
    with path.open() as file:
        return np.array([[*map(float, row)] for row in list(csv.reader(file))[1:]])


@pytest.mark.parametrize(("count", "added"), [(3, False), (4, True), (15, False), (20, True)])
def test_page_and_command_pick_the_same(browser, directory, tmp_path, count, added):
    open_page(browser, directory / "report.html")
    total = browser.execute_script("return current.candidates.length")
    rng = np.random.default_rng(count)
    for number in rng.permutation(total)[:count].tolist():
        script = "answer(current, current.candidates[arguments[0]], arguments[1])"
        browser.execute_script(script, number, bool(rng.random() < 0.5))
    if added:
        browser.execute_script(
            "const { z, y, x } = current.candidates[1]; add(current, { z, y: y + 4, x: x + 5 })"
        )
    assert browser.execute_script("return Boolean(current.ranking.odds)") == (count >= 5)
    ours = rows(saved(browser, "#save-csv", tmp_path / "csv"))
    choices = saved(browser, "#save-choices", tmp_path / "choices")
    name = f"chosen{count}"
    assert main([str(directory), "--choices", str(choices), "--name", name, "-q"]) == 0
    theirs = rows(directory / f"particles_0_gabor_gmm_{name}.csv")
    assert len(ours) > 5
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    # Their page shows them as they were picked.
    open_page(browser, directory / "report.html")
    place = browser.execute_script(
        "return picked.findIndex(({ name }) => name === arguments[0])", name
    )
    browser.execute_script("showPicks(arguments[0])", place)
    assert the(browser, "#kept").text.split()[0] == str(len(ours))
    assert the(browser, ".ends .called").text == ("probability" if count >= 5 else "height")
    assert_no_complaint(browser)
