"""What hands do to picks on the page: two handles, clicks, the gallery; in a real Chromium."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from picket_gpu.particles.formats import FORMATS
from picket_gpu.particles.picks import Picks
from tests.report.test_browser_picked import (
    PLANE,
    SHAPE,
    SIZE,
    circles,
    expected,
    page_of,
    particle_set,
)
from tests.support.chromium import (
    assert_no_complaint,
    drawn,
    needs_chromium,
    open_page,
    reload,
    saved,
    set_range,
    the,
)
from tests.support.records import with_picks

pytestmark = needs_chromium
# Apart from each other in the plane; the first five are picked.
POINTS = np.array(
    [
        *([10.0, 10.0, 10.0], [10.5, 10.0, 40.0], [8.0, 10.0, 70.0], [10.0, 32.0, 12.0]),
        *([12.0, 30.0, 42.0], [10.0, 31.0, 70.0], [9.0, 50.0, 15.0], [11.0, 51.0, 44.0]),
    ]
)
HEIGHTS = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.2, 0.1])
FEW = particle_set(
    Picks(POINTS, HEIGHTS, 0.4, 5),
    diameter=120.0,
    settings={"diameter": 120.0, "source": "score", "threshold": "auto"},
)


def picks_with(least, greatest=np.inf):
    first, end = int((greatest < HEIGHTS).sum()), int((least <= HEIGHTS).sum())
    return with_picks(FEW, replace(FEW.picks, threshold=least, first=first, count=end - first))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("few") / "report.html"
    path.write_text(page_of(FEW))
    return path


@pytest.fixture
def page(browser, path):
    open_page(browser, path)
    drawn(browser, PLANE)
    yield browser
    assert_no_complaint(browser)


def click(browser, y: float, x: float, shift: bool = False) -> None:
    """Click a place of the slice, in voxels."""
    stage, view = the(browser, "#stage"), the(browser, "#stage .view").rect
    right = view["x"] + view["width"] * (x + 0.5) / SHAPE[2] - stage.rect["x"]
    down = view["y"] + view["height"] * (y + 0.5) / SHAPE[1] - stage.rect["y"]
    middle = stage.rect["width"] / 2, stage.rect["height"] / 2
    actions = ActionChains(browser)
    if shift:
        actions.key_down(Keys.SHIFT)
    actions.move_to_element_with_offset(stage, right - middle[0], down - middle[1]).click()
    if shift:
        actions.key_up(Keys.SHIFT)
    actions.perform()


def kept(browser) -> list[int]:
    """Which candidates are picked, and -1 for each place that was added."""
    numbers = browser.execute_script(
        "return pickedOf(current).map((place) => place.added ? -1 : place.number)"
    )
    assert the(browser, "#kept").text == f"{len(numbers)} of {len(HEIGHTS)}"
    return numbers


def kinds(browser) -> list[str]:
    return [
        circle.get_attribute("class")
        for circle in browser.find_elements(By.CSS_SELECTOR, "#stage circle")
    ]


def rows_of(path: Path) -> list[dict[str, float]]:
    with path.open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


# Two handles.


def test_the_greatest_height_is_a_handle_too(page, tmp_path):
    assert not the(page, "#up-to").is_displayed()
    set_range(page, "#greatest", 0.75)
    assert kept(page) == [2, 3, 4]
    assert the(page, "#chosen-greatest").text == "0.75"
    set_range(page, "#least", 0.25)
    assert kept(page) == [2, 3, 4, 5]
    np.testing.assert_allclose(
        circles(page),
        [row for row in expected(FEW, PLANE, 6) if row not in expected(FEW, PLANE, 2)],
    )
    ours = saved(page, "#save-csv", tmp_path / "csv")
    FORMATS["csv"].write(tmp_path / "run.csv", [picks_with(0.25, 0.75)])
    assert ours.read_bytes() == (tmp_path / "run.csv").read_bytes()
    star = saved(page, "#save-star", tmp_path / "star").read_text()
    assert "# threshold 0.25\n# greatest height 0.75\n" in star
    set_range(page, "#least", 0.8)  # it cannot pass the other
    assert page.execute_script("return current.ranking.least") == 0.75
    the(page, "#greatest").send_keys(Keys.END)
    assert not the(page, "#up-to").is_displayed()
    the(page, "#reset").click()
    assert kept(page) == [0, 1, 2, 3, 4]


def test_the_nearer_handle_is_dragged(page):
    plot, scale = the(page, "#heights"), page.execute_script("return current.ranking.scale")

    def at(height):
        part = (height - scale["low"]) / (scale["high"] - scale["low"])
        return (part - 0.5) * plot.rect["width"], 10

    step = scale["step"]
    for start, to, end in ((0.85, 0.65, "greatest"), (0.42, 0.15, "least")):
        (x, y), (onto, _) = at(start), at(to)
        actions = ActionChains(page).move_to_element_with_offset(plot, x, y).click_and_hold()
        actions.move_by_offset(onto - x, 0).release().perform()
        value = page.execute_script(f"return current.ranking.{end}")
        assert value == pytest.approx(to, abs=2 * step)
    assert kept(page) == [3, 4, 5, 6]


def test_a_run_with_a_greatest_height_is_shown_as_it_picked(browser, tmp_path):
    settings = FEW.settings | {"max_height": 0.65}
    found = picks_with(0.4, 0.65).model_copy(update={"settings": settings})
    path = tmp_path / "report.html"
    path.write_text(page_of(found))
    open_page(browser, path)
    drawn(browser, PLANE)
    assert kept(browser) == [3, 4]
    assert the(browser, "#chosen-greatest").text == "0.65"
    set_range(browser, "#least", 0.25)
    assert kept(browser) == [3, 4, 5]
    told = yaml.safe_load(the(browser, "#particles-yaml").get_property("value"))["particles"]
    assert told == {"diameter": 120.0, "source": "score", "threshold": 0.25, "max_height": 0.65}
    the(browser, "#greatest").send_keys(Keys.END)
    assert kept(browser) == [0, 1, 2, 3, 4, 5]
    told = yaml.safe_load(the(browser, "#particles-yaml").get_property("value"))["particles"]
    assert "max_height" not in told
    assert_no_complaint(browser)


def test_no_more_than_the_greatest_number_are_shown_at_any_threshold(browser, tmp_path):
    settings = FEW.settings | {"max_particles": 2}
    found = picks_with(0.4, 0.65)
    found = found.model_copy(update={"settings": settings, "picks": replace(found.picks, count=2)})
    path = tmp_path / "report.html"
    path.write_text(page_of(found))
    open_page(browser, path)
    drawn(browser, PLANE)
    assert kept(browser) == [3, 4]
    set_range(browser, "#least", 0.25)
    assert kept(browser) == [0, 1]
    set_range(browser, "#greatest", 0.65)
    assert kept(browser) == [3, 4]
    told = yaml.safe_load(the(browser, "#particles-yaml").get_property("value"))["particles"]
    assert told["max_particles"] == 2
    # Bad ones make room, good ones take it.
    browser.execute_script("answer(current, current.candidates[3], false)")
    assert kept(browser) == [4, 5]
    browser.execute_script("answer(current, current.candidates[7], true)")
    assert kept(browser) == [4, 7]
    assert_no_complaint(browser)


# Clicks.


def test_a_click_leaves_out_or_takes_in_and_undo_takes_it_back(page):
    click(page, 10, 10)
    assert kept(page) == [1, 2, 3, 4]
    assert sorted(kinds(page)) == ["", "", "", "", "bad"]
    assert the(page, "#by-hand").text == "by hand: 1 bad"
    click(page, 10, 10)
    assert kept(page) == [0, 1, 2, 3, 4]
    assert kinds(page).count("good") == 1
    click(page, 32, 12)
    assert kept(page) == [0, 1, 2, 4]
    the(page, "#undo").click()
    assert kept(page) == [0, 1, 2, 3, 4]
    the(page, "body").send_keys("u", "u")
    assert kinds(page) == [""] * 5
    assert not the(page, "#undo").is_enabled()
    click(page, 32, 12)
    the(page, "#clear").click()
    assert kept(page) == [0, 1, 2, 3, 4]
    the(page, "#undo").click()
    assert kept(page) == [0, 1, 2, 4]


def test_a_click_beside_all_circles_changes_nothing(page):
    click(page, 50, 15)  # a candidate, not shown
    click(page, 20, 25)
    assert kept(page) == [0, 1, 2, 3, 4]
    assert not the(page, "#undo").is_enabled()


def test_candidates_that_are_not_picked_are_shown_and_taken_in(page):
    the(page, "#rest").click()
    assert sorted(kinds(page)) == [""] * 5 + ["rest"] * 3
    click(page, 50, 15)
    assert kept(page) == [0, 1, 2, 3, 4, 6]
    the(page, "#rest").click()
    assert sorted(kinds(page)) == [""] * 5 + ["good"]


def test_a_shift_click_takes_in_a_candidate_or_adds_a_place(page, tmp_path):
    click(page, 51, 44, shift=True)
    assert kept(page) == [0, 1, 2, 3, 4, 7]
    click(page, 20, 25, shift=True)
    assert kept(page) == [-1, 0, 1, 2, 3, 4, 7]
    assert the(page, "#by-hand").text == "by hand: 1 good, 1 added"
    assert sorted(kinds(page)) == [""] * 5 + ["good"] * 2
    rows = rows_of(saved(page, "#save-csv", tmp_path / "csv"))
    view = the(page, "#stage .view").rect
    assert rows[0]["z"] == PLANE
    assert rows[0]["y"] == pytest.approx(20, abs=SHAPE[1] / view["height"])  # a pixel
    assert rows[0]["x"] == pytest.approx(25, abs=SHAPE[2] / view["width"])
    assert rows[0]["score"] == 0.9  # that of the highest
    # What was taken in has one that stays at the threshold.
    assert [row["score"] for row in rows[1:]] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    star = saved(page, "#save-star", tmp_path / "star")
    assert star.name == "particles_0_gabor_gmm_by_hand.star"
    assert "# by hand: 1 good, 1 added\n" in star.read_text()
    click(page, 20, 25)  # gone again
    assert kept(page) == [0, 1, 2, 3, 4, 7]


def test_beside_the_picture_nothing_is_added(page):
    stage, view = the(page, "#stage").rect, the(page, "#stage .view").rect
    room = (stage["height"] - view["height"]) / 2
    assert room > 4  # this picture is wide
    actions = ActionChains(page).key_down(Keys.SHIFT)
    actions.move_to_element_with_offset(the(page, "#stage"), 0, -stage["height"] / 2 + room / 2)
    actions.click().key_up(Keys.SHIFT).perform()
    assert kept(page) == [0, 1, 2, 3, 4]


def test_others_keep_the_spacing_from_an_added_place(page):
    """0.8 diameters are 96 angstrom; the place is 80 from one candidate, and 120 from the next."""
    page.execute_script("add(current, { z: 10, y: 18, x: 10 })")
    assert kept(page) == [-1, 1, 2, 3, 4]
    click(page, 10, 10, shift=True)
    assert kept(page) == [-1, 0, 1, 2, 3, 4]  # a hand wants both
    page.execute_script("undo(current); undo(current)")
    assert kept(page) == [0, 1, 2, 3, 4]


def test_a_hand_wins_over_the_threshold(page):
    click(page, 10, 10)
    click(page, 51, 44, shift=True)
    set_range(page, "#least", 0.15)
    assert kept(page) == [1, 2, 3, 4, 5, 6, 7]
    set_range(page, "#least", 0.85)
    assert kept(page) == [7]


def test_dragging_is_no_click(page):
    the(page, "body").send_keys("+")
    stage = the(page, "#stage")
    for _ in range(2):
        ActionChains(page).drag_and_drop_by_offset(stage, 30, 20).perform()
    assert not the(page, "#undo").is_enabled()


def test_keys_go_from_pick_to_pick(page):
    for key, number, z in (("n", 0, 10), ("n", 1, 10), ("n", 2, 8), ("p", 1, 10)):
        the(page, "body").send_keys(key)
        drawn(page, z)
        assert page.execute_script("return current.asked.number") == number
        (asked,) = page.find_elements(By.CSS_SELECTOR, "#stage circle.asked")
        shown = [float(asked.get_attribute(name)) for name in ("cx", "cy")]
        y, x = POINTS[number, 1:]
        assert shown == pytest.approx([(x + 0.5) * SIZE[2], (y + 0.5) * SIZE[1]])
    the(page, "body").send_keys("p", "p")
    assert page.execute_script("return current.asked.number") == 4  # the last
    the(page, "body").send_keys("+", "n")  # zoomed, it is in the middle as far as can be
    view, stage = the(page, "#stage .view").rect, the(page, "#stage").rect
    middle = view["y"] + view["height"] * 10.5 / SHAPE[1] - stage["y"]
    assert 0 < middle < stage["height"]


def test_answers_and_handles_survive_a_reload(page):
    click(page, 10, 10)
    click(page, 20, 25, shift=True)
    set_range(page, "#greatest", 0.85)
    set_range(page, "#least", 0.25)
    before, seen = kept(page), circles(page)
    assert before == [-1, 1, 2, 3, 4, 5]
    reload(page)
    drawn(page, PLANE)
    assert kept(page) == before
    assert circles(page) == seen


def test_answers_are_not_those_of_other_candidates(page, path, tmp_path):
    click(page, 10, 10)
    other = replace(FEW.picks, candidate_heights=HEIGHTS + 0.01)
    before = path.read_text()
    path.write_text(page_of(with_picks(FEW, other)))
    try:
        reload(page)
        drawn(page, PLANE)
        assert kept(page) == [0, 1, 2, 3, 4]
    finally:
        path.write_text(before)


# The gallery and averages.


def states(browser) -> list[str]:
    return [
        tile.get_attribute("data-state")
        for tile in browser.find_elements(By.CSS_SELECTOR, "#tiles button")
        if tile.is_displayed()
    ]


def before_line(browser) -> int:
    """How many tiles stand before the line."""
    return browser.execute_script(
        "const all = [...document.getElementById('tiles').children];"
        "return all.slice(0, all.indexOf(document.getElementById('line-below')))"
        ".filter((child) => child.matches('button:not([hidden])')).length"
    )


def test_the_gallery_shows_all_by_rank_with_the_line(page):
    assert states(page) == ["in"] * 5 + ["out"] * 3
    assert before_line(page) == 5
    assert the(page, "#line-below").text == "height below 0.4 is not picked"
    set_range(page, "#least", 0.25)
    assert states(page) == ["in"] * 6 + ["out"] * 2
    assert before_line(page) == 6
    tiles = page.find_elements(By.CSS_SELECTOR, "#tiles button")
    tiles[1].click()
    tiles[7].click()
    assert states(page) == ["in", "bad", *["in"] * 4, "out", "good"]
    assert kept(page) == [0, 2, 3, 4, 5, 7]
    assert "height 0.8, not picked by hand" in tiles[1].get_attribute("aria-label")
    ActionChains(page).key_down(Keys.SHIFT).click(tiles[2]).key_up(Keys.SHIFT).perform()
    drawn(page, 8)
    assert kept(page) == [0, 2, 3, 4, 5, 7]
    set_range(page, "#greatest", 0.75)
    assert the(page, "#line-above").is_displayed()
    assert the(page, "#tiles-shown").text == "1 to 8 of 8"


def test_the_gallery_turns_to_the_threshold(browser, tmp_path):
    rng = np.random.default_rng(0)
    points = rng.random((200, 3)) * (np.array(SHAPE) - 1)
    picks = Picks(points, np.linspace(0.9, 0.1, 200), 0.3, 151)
    path = tmp_path / "report.html"
    path.write_text(page_of(particle_set(picks, diameter=120.0)))
    open_page(browser, path)
    drawn(browser, PLANE)
    assert states(browser) == ["in"] * 60
    assert not the(browser, "#line-below").is_displayed()
    the(browser, "#tiles-line").click()
    assert the(browser, "#tiles-shown").text == "121 to 180 of 200"
    assert states(browser) == ["in"] * 31 + ["out"] * 29
    the(browser, "#tiles-next").click()
    assert states(browser) == ["out"] * 20
    assert not the(browser, "#tiles-next").is_enabled()
    assert_no_complaint(browser)


def crops(browser, plane: str) -> tuple[np.ndarray, np.ndarray]:
    """The slices as the page decodes them, and its crops of all candidates."""
    values, found = browser.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        wholeVolume().then((values) => done([Array.from(values), current.candidates.map((place) =>
          Array.from(cropOf(values, place, place.diameter, arguments[0]),
            (value) => (Number.isNaN(value) ? null : value)))]));
        """,
        plane,
    )
    volume = np.array(values, dtype=float).reshape(-1, *SHAPE[1:])
    return volume, np.array(found, dtype=float)  # None becomes NaN


@pytest.mark.parametrize("plane", ["xy", "xz"])
def test_crops_are_cut_from_the_slices(page, plane):
    volume, ours = crops(page, plane)
    first = page.execute_script("return places[0]")
    offsets = (np.arange(48) - 23.5) * 1.6 * 120 / 48  # angstrom
    zeros = np.zeros(48)
    for (z, y, x), crop in zip(POINTS, ours, strict=True):
        down = (offsets, zeros) if plane == "xz" else (zeros, offsets)
        at = [
            np.broadcast_to((z - first + down[0] / SIZE[0])[:, None], (48, 48)),
            np.broadcast_to((y + down[1] / SIZE[1])[:, None], (48, 48)),
            np.broadcast_to(x + offsets / SIZE[2], (48, 48)),
        ]
        theirs = ndimage.map_coordinates(volume, at, order=1, mode="nearest")
        limits = zip(at, volume.shape, strict=True)
        inside = np.all([(a >= -0.5) & (a <= n - 0.5) for a, n in limits], axis=0)
        np.testing.assert_array_equal(np.isnan(crop), ~inside.ravel())
        np.testing.assert_allclose(crop[inside.ravel()], theirs[inside], atol=1e-3)
    assert np.isnan(ours).any()


def test_averages_are_means_of_what_is_picked_and_of_the_next(page):
    _, ours = crops(page, "xy")
    click(page, 10, 40)  # left out
    groups = page.execute_script(
        "return averaged(current).map((group) => group.map(({ number }) => number))"
    )
    assert groups == [[0, 2, 3, 4], [5, 6, 7]]
    told = page.execute_script(
        """
        const crops = arguments[0].map((crop) => crop.map((value) => value ?? NaN));
        const mean = meanCrop(crops);
        return [[...mean], circleMeans(mean)]
          .map((each) => each.map((value) => (Number.isNaN(value) ? null : value)));
        """,
        [[None if np.isnan(v) else v for v in ours[n]] for n in groups[0]],
    )
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(ours[groups[0]], axis=0)
    np.testing.assert_allclose(np.array(told[0], float), mean, rtol=1e-6)
    rows, columns = np.indices((48, 48)) - 23.5
    radius = np.hypot(rows, columns).astype(int).ravel()
    curve = [np.nanmean(mean[radius == r]) for r in range(24)]
    np.testing.assert_allclose(told[1], curve, rtol=1e-5)
    WebDriverWait(page, 10).until(lambda b: the(b, "#average-in-count").text == "4")
    assert the(page, "#average-out-count").text == "3"
    set_range(page, "#least", 0.15)
    WebDriverWait(page, 10).until(lambda b: the(b, "#average-in-count").text == "6")
    assert the(page, "#average-out-count").text == "1"


def test_without_a_diameter_there_is_no_gallery(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(particle_set(FEW.picks, diameter=0.0)))
    open_page(browser, path)
    drawn(browser, PLANE)
    assert not the(browser, "#gallery").is_displayed()
    assert not the(browser, "#averages").is_displayed()
    click(browser, 20, 25, shift=True)
    assert kept(browser) == [0, 1, 2, 3, 4]
    assert_no_complaint(browser)
