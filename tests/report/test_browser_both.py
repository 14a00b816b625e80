"""Particles of both sources on the page, whose heights may be negative; in a real Chromium."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("selenium")
from picket_gpu.files.segmentation import Segmentation, Subject
from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.particles import Particles
from picket_gpu.particles.picks import Picks
from picket_gpu.report.collect import begin_report
from picket_gpu.report.page import page_data, tomogram_page
from picket_gpu.report.picked import circles
from tests.support.chromium import (
    assert_no_complaint,
    needs_chromium,
    open_page,
    saved,
    set_range,
    the,
)

pytestmark = needs_chromium

SUBJECT = Subject(
    directory=Path("out/set"),
    index=0,
    tomogram=Path("tomo.mrc"),
    name="tomo.mrc",
    dataset_name="set",
    shape=(21, 60, 85),
    voxel_size=(7.84, 10.0, 13.48),
    origin=(-11.5, 22.0, 33.25),
    neighborhood_size=5,
)
WORKFLOW = {"mode": "gabor", "method": "gmm"}


def particles_of(separation: float, sized: bool = False) -> Particles:
    """200 candidates, of which those at and above 0 are picked; with sizes of their own or not."""
    rng = np.random.default_rng(0)
    points = rng.random((200, 3)) * (np.array(SUBJECT.shape) - 1)
    heights = np.sort(np.concatenate([rng.uniform(0, 2.5, 58), rng.uniform(-1.7, 0, 136)]))[::-1]
    heights = np.concatenate([heights, [-1.75, -1.8984375, -1.9, -2.0]])
    heights = np.sort(np.concatenate([heights, [113 / 128, 0.0]]))[::-1].copy()
    count = int((heights >= 0).sum())
    return Particles(
        **SUBJECT.fields,
        **WORKFLOW,
        fingerprint="a",
        files=["particles_0_gabor_gmm.csv", "particles_0_gabor_gmm.star"],
        candidates=200,
        diameter=180.0,
        settings={"source": "both", "threshold": "auto"},
        picks=Picks(
            points,
            heights,
            0.0,
            count,
            dark=True,
            separation=separation,
            candidate_diameters=rng.choice(np.geomspace(90, 180, 7), 200) if sized else None,
        ),
    )


def opened(browser, path: Path, particles: Particles) -> None:
    noise = np.random.default_rng(0).random(SUBJECT.shape, dtype=np.float32)
    report = begin_report(SUBJECT, lambda z: noise[z])
    made = {"fingerprint": "b", "files": ["s.h5"], "iterations": 7, "converged": True}
    segmentation = Segmentation(**SUBJECT.fields, **WORKFLOW, **made, foreground_fraction=0.5)
    report.add(segmentation, (noise > 0.8).astype(np.int8))
    report.picked.append(particles)
    path.write_text(tomogram_page(page_data(report, {})))
    open_page(browser, path)


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("threshold", [None, -1.2, 0.5])
def test_saved_files_are_those_of_a_run_with_that_threshold(browser, tmp_path, threshold, sized):
    found = particles_of(0.9, sized)
    opened(browser, tmp_path / "report.html", found)
    if threshold is not None:
        set_range(browser, "#least", threshold)
        chosen = browser.execute_script("return leastOf(current.ranking)")
        assert chosen == pytest.approx(threshold, abs=0.02)
        count = int((found.picks.candidate_heights >= chosen).sum())
        assert (count > found.count) == (threshold < 0)
        picks = replace(found.picks, threshold=chosen, count=count)
        found = found.model_copy(update={"picks": picks})
    assert the(browser, "#kept").text == f"{found.count} of 200"
    for kind in ("csv", "star"):
        ours = saved(browser, f"#save-{kind}", tmp_path / kind)
        theirs = tmp_path / f"run.{kind}"
        FORMATS[kind].write(theirs, [found])
        assert ours.read_bytes() == theirs.read_bytes()
    assert_no_complaint(browser)


def test_circles_are_as_large_as_each_particle(browser, tmp_path):
    found = particles_of(0.9, sized=True)
    opened(browser, tmp_path / "report.html", found)
    assert "spheres of each one's diameter" in the(browser, "#picked-notes").text
    z = SUBJECT.shape[0] // 2
    ours = browser.execute_script(
        "return cutsOf(current, arguments[0]).map(({ cx, cy, r }) => [cx, cy, r])", z
    )
    expected = []
    for (pz, y, x), diameter in zip(found.coordinates, found.diameters, strict=True):
        square = (diameter / 2) ** 2 - ((pz - z) * 7.84) ** 2
        if square > 0:
            expected.append([(x + 0.5) * 13.48, (y + 0.5) * 10.0, np.sqrt(square)])
    assert len(expected) > 10
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    np.testing.assert_allclose(circles(found, z), expected, rtol=1e-12)


@pytest.mark.parametrize(("separation", "doubted"), [(0.76, False), (0.74, True)])
def test_the_page_says_what_was_found(browser, tmp_path, separation, doubted):
    opened(browser, tmp_path / "report.html", particles_of(separation))
    notes = the(browser, "#picked-notes").text
    assert notes.startswith("From gabor gmm and the tomogram, dark. ")
    assert ("form one hill, not two" in notes) == doubted
    assert_no_complaint(browser)
