"""Picked particles on the page: circles, the threshold, files; in a real Chromium."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import starfile

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.picks import Picks
from picket_gpu.report.collect import begin_report
from picket_gpu.report.page import page_data, tomogram_page
from picket_gpu.report.picked import MOST_CANDIDATES
from tests.support.chromium import (
    assert_no_complaint,
    drawn,
    ground,
    luminance,
    needs_chromium,
    open_page,
    reload,
    saved,
    set_range,
    the,
)
from tests.support.records import particles_of, segmentation_of, subject_of, with_picks

pytestmark = needs_chromium

SHAPE, SIZE, ORIGIN = (21, 60, 85), (7.84, 10.0, 13.48), (-11.5, 22.0, 33.25)
CENTRE = (10.375, 30.0, 42.25)  # of RELION's list, where binning rounded
PLANE = 10  # the slice that is shown first
WORKFLOWS = [("gabor", "kmeans"), ("gabor", "gmm"), ("intensities", "gmm")]


def random_picks(seed, number=200):
    """Candidates all over the tomogram, some of them where numbers are awkward to write."""
    rng = np.random.default_rng(seed)
    points = rng.random((number, 3)) * (np.array(SHAPE) - 1)
    points[:4] = [[0, 0, 0], [1e-5, 3.0, 1e-7], [20.0, 59.0, 84.0], [10.0, 30.0, 42.5]]
    heights = np.sort(np.round(rng.beta(1, 3, number), 5))[::-1].copy()
    heights[:3] = [1.0, 115 / 128, 113 / 128]  # 0.8984375 and 0.8828125: ties at six decimals
    threshold = float(heights[60] - 1e-7)
    return Picks(points, heights, threshold, 61)


def particle_set(picks, diameter=180.0, name="TS 01", workflow=("gabor", "gmm"), **geometry):
    changes = {"settings": geometry.pop("settings", {})}
    geometry = {"shape": SHAPE, "voxel_size": SIZE, "origin": ORIGIN, "centre": CENTRE} | geometry
    return particles_of(subject_of(**geometry, name=name), picks, diameter, workflow, **changes)


def page_of(*found, shape=SHAPE, size=SIZE, **place):
    subject = subject_of(shape, tomogram=Path("tomo"), name="tomo", voxel_size=size, **place)
    noise = np.random.default_rng(0).random(shape, dtype=np.float32)
    report = begin_report(subject, lambda z: noise[z])
    for workflow in WORKFLOWS:
        report.add(segmentation_of(subject, *workflow), (noise > 0.8).astype(np.int8))
    report.picked.extend(found)
    return tomogram_page(page_data(report, {}))


GMM, OTHER = (
    particle_set(random_picks(1)),
    particle_set(random_picks(2), 95.0, workflow=WORKFLOWS[2]),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("picked")
    (directory / "report.html").write_text(page_of(GMM, OTHER))
    return directory


@pytest.fixture
def page(browser, directory):
    open_page(browser, directory / "report.html")
    drawn(browser, PLANE)
    yield browser
    assert_no_complaint(browser)


def circles(browser):
    """x, y, radius of the circles on the picture, in its units."""
    return browser.execute_script(
        """
        return [...document.querySelectorAll("#stage circle")]
          .map((circle) => ["cx", "cy", "r"].map((name) => Number(circle.getAttribute(name))));
        """
    )


def expected(found, z, kept):
    """Each particle's distance to the plane, one by one."""
    rows = []
    for pz, y, x in found.picks.candidates[:kept].tolist():
        distance = abs(pz - z) * SIZE[0]
        if distance < found.diameter / 2:
            radius = np.sqrt((found.diameter / 2) ** 2 - distance**2)
            rows.append([(x + 0.5) * SIZE[2], (y + 0.5) * SIZE[1], radius])
    return rows


def assert_circled(browser, found, z, kept):
    assert kept == 0 or 0 < len(expected(found, z, kept)) < len(found.picks.candidates)
    np.testing.assert_allclose(circles(browser), expected(found, z, kept), rtol=1e-12)


def kept_by(browser, found):
    """How many stay by the threshold shown, which is then as the page has it."""
    threshold = browser.execute_script("return leastOf(current.ranking)")
    kept = int((found.picks.candidate_heights >= threshold).sum())
    assert the(browser, "#kept").text == f"{kept} of 200"
    return kept


def test_circles_are_cuts_of_spheres(page):
    assert the(page, "#kept").text == "61 of 200"
    assert_circled(page, GMM, PLANE, 61)
    the(page, "body").send_keys(Keys.ARROW_RIGHT)
    drawn(page, PLANE + 1)
    assert_circled(page, GMM, PLANE + 1, 61)


def test_circles_lie_on_the_picture_where_the_particle_is(page):
    """On the screen, where a voxel is 13.48 wide and 10 high."""
    view, shape = (
        the(page, "#stage .view").rect,
        page.execute_script(
            """
        const { x, y, width, height } = document.querySelector("#stage circle:last-child")
          .getBoundingClientRect();
        return [x, y, width, height];
        """
        ),
    )
    x, y, radius = expected(GMM, PLANE, 61)[-1]
    scale = view["width"] / (SHAPE[2] * SIZE[2])
    assert view["height"] == pytest.approx(SHAPE[1] * SIZE[1] * scale, abs=0.5)
    assert shape[0] + shape[2] / 2 - view["x"] == pytest.approx(x * scale, abs=0.6)
    assert shape[1] + shape[3] / 2 - view["y"] == pytest.approx(y * scale, abs=0.6)
    assert shape[2] == pytest.approx(shape[3], abs=0.3)
    assert shape[2] == pytest.approx(2 * radius * scale, abs=2.5)  # and its line


def test_circles_lie_right_on_pictures_made_smaller(browser, directory):
    """Of 1,100 columns a picture has 366, of three voxels each; two voxels are left out."""
    shape = (9, 20, 1100)
    picks = Picks(np.array([[4.0, 10.0, 549.0]]), np.array([0.5]), 0.5, 1)
    geometry = {"shape": shape, "voxel_size": (10.0,) * 3, "origin": (0.0,) * 3}
    found = particle_set(picks, 60.0, "a", **geometry)
    path = directory / "wide.html"
    path.write_text(page_of(found, shape=shape, size=(10.0,) * 3))
    open_page(browser, path)
    drawn(browser, 4)
    view, circle = (
        browser.execute_script(
            "const { x, width } = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [x, width]",
            css,
        )
        for css in ("#stage .view", "#stage circle")
    )
    place = (circle[0] + circle[1] / 2 - view[0]) / view[1]
    assert place == pytest.approx(549.5 / 1098, abs=1e-3)
    assert_no_complaint(browser)


def test_circles_can_be_hidden(page):
    the(page, "#circles").click()
    assert page.find_elements(By.CSS_SELECTOR, "circle") == []
    the(page, "#circles").click()
    assert_circled(page, GMM, PLANE, 61)


def test_the_workflow_that_picks_come_from_is_first_and_marked(page):
    thumbs = page.find_elements(By.CSS_SELECTOR, ".thumb")
    assert [one.get_attribute("data-workflow") for one in thumbs] == [
        "gabor gmm",
        "gabor kmeans",
        "intensities gmm",
        "no overlay",
    ]
    assert "picked from" in thumbs[0].text
    assert not any("picked from" in one.text for one in thumbs[1:])
    assert thumbs[0].get_attribute("aria-pressed") == "true"


def test_the_threshold_is_dragged_by_mouse(page):
    plot = the(page, "#heights")
    last = 61
    for step in (60, 30, -20):
        line = the(page, "#least-line").rect
        offset = line["x"] - plot.rect["x"] - plot.rect["width"] / 2
        actions = ActionChains(page).move_to_element_with_offset(plot, offset, 0)
        actions.click_and_hold().move_by_offset(step, 0).release().perform()
        kept = kept_by(page, GMM)
        assert (kept < last) == (step > 0)
        assert the(page, "#least-line").rect["x"] == pytest.approx(line["x"] + step, abs=2)
        assert_circled(page, GMM, PLANE, kept)
        last = kept
    ActionChains(page).move_to_element(plot).move_by_offset(30, 0).perform()
    assert kept_by(page, GMM) == last  # not held


def test_the_threshold_is_dragged_by_touch(page):
    plot = the(page, "#heights")
    page.execute_script("arguments[0].scrollIntoView()", the(page, "#particles"))
    actions = ActionBuilder(page, mouse=PointerInput(POINTER_TOUCH, "finger"))
    finger = actions.pointer_action
    finger.move_to(plot, 0, 0).pointer_down().move_to(plot, -40, 0).pointer_up()
    actions.perform()
    middle = plot.rect["x"] + plot.rect["width"] / 2
    scale = page.execute_script("return current.ranking.scale")
    step = plot.rect["width"] * scale["step"] / (scale["high"] - scale["low"])
    assert the(page, "#least-line").rect["x"] == pytest.approx(middle - 40, abs=step / 2 + 1)
    assert_circled(page, GMM, PLANE, kept_by(page, GMM))


def test_the_threshold_moves_by_keyboard_and_the_slices_do_not(page):
    slider = the(page, "#least")
    for key, fewer in ((Keys.PAGE_UP, True), (Keys.ARROW_LEFT, False), (Keys.ARROW_RIGHT, True)):
        before = page.execute_script("return leastOf(current.ranking)")
        slider.send_keys(key)
        after = page.execute_script("return leastOf(current.ranking)")
        assert (after > before) == fewer
        assert_circled(page, GMM, PLANE, kept_by(page, GMM))
    assert slider.get_attribute("aria-valuetext").startswith(the(page, "#chosen").text)
    slider.send_keys(Keys.END)
    assert kept_by(page, GMM) == 0
    slider.send_keys(Keys.HOME)
    assert kept_by(page, GMM) == 200
    assert the(page, "body").get_attribute("data-drawn") == str(PLANE)
    # What a slider shows is a number to write down.
    assert len(str(page.execute_script("return leastOf(current.ranking)"))) < 7


def test_line_and_thumb_are_in_one_place(page):
    for value in (0.1, 0.5, 0.9):
        set_range(page, "#least", value)
        slider, scale = the(page, "#least"), page.execute_script("return current.ranking.scale")
        part = (float(slider.get_property("value")) - scale["low"]) / (scale["high"] - scale["low"])
        thumb = slider.rect["x"] + 9 + part * (slider.rect["width"] - 18)
        assert the(page, "#least-line").rect["x"] == pytest.approx(thumb, abs=1.5)


def test_the_histogram_counts_all_candidates(page):
    """Heights of bars are square roots; the line parts those that are picked from the rest."""
    bars = page.execute_script(
        "return [...document.querySelectorAll('#bars rect')]"
        ".map((bar) => [Number(bar.getAttribute('height')), bar.classList.contains('kept')])"
    )
    scale = page.execute_script("return current.ranking.scale")
    edges = np.linspace(scale["low"], scale["high"], 81)
    counts, _ = np.histogram(GMM.picks.candidate_heights, edges)
    assert counts.sum() == 200
    heights = 100 * np.sqrt(counts / counts.max())
    np.testing.assert_allclose([tall for tall, _ in bars], heights, rtol=1e-6)
    middles = (edges[1:] + edges[:-1]) / 2
    assert [kept for _, kept in bars] == (middles >= GMM.picks.threshold).tolist()


def test_a_workflow_is_chosen_and_put_back(page):
    set_range(page, "#least", 0.6)
    kept = kept_by(page, GMM)
    Select(the(page, "#picked")).select_by_visible_text("intensities gmm")
    assert the(page, "#kept").text == "61 of 200"
    assert "95 Å" in the(page, "#picked-notes").text
    assert "particles_0_intensities_gmm.csv, .star" in the(page, "#picked-notes").text
    assert_circled(page, OTHER, PLANE, 61)  # has a threshold of its own
    thumbs = page.find_elements(By.CSS_SELECTOR, ".thumb")
    assert thumbs[0].get_attribute("data-workflow") == "intensities gmm"
    assert the(page, "#overlay").text == "intensities gmm"
    assert not the(page, "#reset").is_enabled()
    Select(the(page, "#picked")).select_by_visible_text("gabor gmm")
    assert_circled(page, GMM, PLANE, kept)
    assert the(page, "#kept").text == f"{kept} of 200"
    the(page, "#reset").click()
    assert the(page, "#kept").text == "61 of 200"
    assert page.execute_script("return leastOf(current.ranking)") == GMM.picks.threshold


def test_picks_from_the_tomogram_itself_have_no_overlay(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(GMM, particle_set(OTHER.picks, 95.0, workflow=("tomogram", "ball"))))
    open_page(browser, path)
    drawn(browser, PLANE)
    Select(the(browser, "#picked")).select_by_visible_text("tomogram ball")
    assert_circled(browser, OTHER, PLANE, 61)
    assert the(browser, "#overlay").text == "no overlay"
    (mark,) = browser.find_elements(By.CSS_SELECTOR, ".mark:not([hidden])")
    thumbs = browser.find_elements(By.CSS_SELECTOR, ".thumb")
    assert thumbs[0].get_attribute("data-workflow") == "no overlay"
    assert mark.text in thumbs[0].text
    reload(browser)
    drawn(browser, PLANE)
    assert_circled(browser, OTHER, PLANE, 61)  # as it was left
    assert the(browser, "#overlay").text == "no overlay"
    assert_no_complaint(browser)


# Files.


@pytest.mark.parametrize("threshold", [None, 0.2, 0.0, 0.99, 1.1])
def test_saved_files_are_those_of_a_run_with_that_threshold(page, tmp_path, threshold):
    found = GMM
    if threshold is not None:
        set_range(page, "#least", threshold)
        picks = replace(
            GMM.picks,
            threshold=page.execute_script("return leastOf(current.ranking)"),
            count=kept_by(page, GMM),
        )
        assert (picks.count == 0) == (threshold == 1.1)
        found = with_picks(GMM, picks)
    for kind in ("csv", "star"):
        theirs = tmp_path / f"run.{kind}"
        FORMATS[kind].write(theirs, [found])
        ours = saved(page, f"#save-{kind}", tmp_path / kind)
        stem = "particles_0_gabor_gmm"
        if threshold is not None:
            stem += f"_threshold_{the(page, '#chosen').text}"
        assert ours.name == f"{stem}.{kind}"
        assert ours.read_bytes() == theirs.read_bytes()
        if kind == "star" and found.picks.count:
            tables = [starfile.read(path) for path in (ours, theirs)]
            assert tables[0].equals(tables[1])
            assert len(tables[0]) == found.picks.count
            assert set(tables[0]["rlnTomoName"]) == {"TS 01"}


def test_numbers_are_written_as_python_does(page):
    rng = np.random.default_rng(0)
    numbers = [0.0, -0.0, 1.0, 1e15, 1e16, 123456789012345680.0, 1e22, 1e-4, 9.9e-5, 1e-5, 1.5e-7]
    numbers += [5e-324, 1.7976931348623157e308, 0.1, 1 / 3, -2.5, 4e-100, *rng.normal(size=50)]
    ours = page.execute_script("return arguments[0].map(exactly)", numbers)
    assert ours[1] in ("0.0", "-0.0")  # JSON, which brought it here, may have lost the sign
    numbers[1], ours[1] = 0.0, "0.0"
    assert ours == [repr(float(number)) for number in numbers]
    sides = [*np.arange(-300, 300) / 128, *rng.normal(size=50) * 1e4, 12345 + 1 / 128]
    ours = page.execute_script("return arguments[0].map(sixDecimals)", [float(n) for n in sides])
    assert ours == [f"{number:.6f}" for number in sides]


# Unusual picks.


def opened(browser, path, *found):
    path.write_text(page_of(*found))
    open_page(browser, path)
    drawn(browser, PLANE)


def test_a_page_without_picks(browser, tmp_path):
    opened(browser, tmp_path / "report.html")
    assert the(browser, "#overlay").text == "gabor kmeans"
    assert browser.find_elements(By.CSS_SELECTOR, ".mark:not([hidden])") == []
    assert not the(browser, "#particles").is_displayed()
    assert the(browser, "#keys").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "circle") == []
    assert_no_complaint(browser)


def test_no_candidates(browser, tmp_path):
    none = Picks(np.empty((0, 3)), np.empty(0), 0.0, 0)
    opened(browser, tmp_path / "report.html", particle_set(none))
    assert the(browser, "#particles").is_displayed()
    assert not the(browser, "#heights").is_displayed()
    assert "No candidates" in the(browser, "#picked-notes").text
    path = saved(browser, "#save-csv", tmp_path / "csv")
    assert path.read_text() == "x_angstrom,y_angstrom,z_angstrom,score,x,y,z\n"
    assert_no_complaint(browser)


@pytest.mark.parametrize(
    "heights", [[0.5], [0.0, 0.0], [3.25, 1.5, -0.75], [0.012, 0.0119], [0.7, 0.5, 0.29]]
)
def test_few_or_unusual_scores(browser, tmp_path, heights):
    points = np.tile([10.0, 30.0, 40.0], (len(heights), 1))
    picks = Picks(points, np.array(heights), heights[-1], len(heights))
    opened(browser, tmp_path / "report.html", particle_set(picks))
    slider, total = the(browser, "#least"), len(heights)
    assert len(circles(browser)) == total
    for key, kept in ((Keys.END, 0), (Keys.HOME, total)):
        slider.send_keys(key)
        assert the(browser, "#kept").text == f"{kept} of {total}"
        assert len(circles(browser)) == kept
    assert_no_complaint(browser)


def test_so_many_wanted_at_most(browser, tmp_path):
    """Where a run picks fewer than the threshold would leave."""
    few = replace(GMM.picks, count=20)
    opened(browser, tmp_path / "report.html", particle_set(few))
    assert the(browser, "#kept").text == "20 of 200"
    assert_circled(browser, GMM, PLANE, 20)
    the(browser, "#least").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert kept_by(browser, GMM) > 50
    the(browser, "#reset").click()
    assert the(browser, "#kept").text == "20 of 200"
    assert_no_complaint(browser)


def test_without_a_diameter_there_are_no_circles(browser, tmp_path):
    opened(browser, tmp_path / "report.html", particle_set(GMM.picks, diameter=0.0))
    assert the(browser, "#kept").text == "61 of 200"
    assert browser.find_elements(By.CSS_SELECTOR, "circle") == []
    assert "diameter is not known" in the(browser, "#picked-notes").text
    assert_no_complaint(browser)


def test_more_candidates_than_a_page_holds(browser, tmp_path):
    picks = random_picks(3, MOST_CANDIDATES + 7)
    opened(browser, tmp_path / "report.html", particle_set(picks))
    assert the(browser, "#kept").text == "61 of 10,000"
    assert "the 10,000 highest of 10,007 candidates" in the(browser, "#picked-notes").text
    set_range(browser, "#least", 0)
    assert the(browser, "#kept").text == "10,000 of 10,000"
    assert len(circles(browser)) > 1000
    assert_no_complaint(browser)


@pytest.mark.parametrize("name", ['it\'s "x" #1', "</script><b>", "tab\tname"])
def test_a_name_that_no_star_file_can_have(browser, tmp_path, name):
    opened(browser, tmp_path / "report.html", particle_set(GMM.picks, name=name))
    assert the(browser, "#save-csv").is_enabled()
    assert the(browser, "#save-star").is_enabled() == (name == "</script><b>")
    assert browser.find_elements(By.CSS_SELECTOR, "b") == []
    assert_no_complaint(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(page, scheme):
    """As test_browser.py has it; lines and bars at least 3 to 1 (WCAG 2, 1.4.11)."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        for css, what, least in (
            ("#kept", "color", 4.5),
            ("#picked-notes", "color", 4.5),
            (".ends", "color", 4.5),
            ("#by-hand", "color", 4.5),
            ("#answered", "color", 4.5),
            ("#choices-told", "color", 4.5),
            ("#choices-command", "color", 4.5),
            ("#asked-text", "color", 4.5),
            ("#average-in", "color", 4.5),
            ("#particles-yaml", "color", 4.5),
            ("#curve-in", "stroke", 3),
            ("#curve-out", "stroke", 3),
            (".line", "color", 4.5),
            ("#tiles-shown", "color", 4.5),
            ("#save-csv", "color", 4.5),
            ("#bars rect", "fill", 3),
            ("#bars rect.kept", "fill", 3),
            ("#least-line", "stroke", 3),
        ):
            colour = luminance(the(page, css).value_of_css_property(what))
            light, dark = sorted((colour, ground(page, css)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, css
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
