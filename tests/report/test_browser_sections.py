"""Sections xz and yz of the page; in a real Chromium."""

import numpy as np
import pytest

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from picket_gpu.report.page import tomogram_page
from tests.report.test_browser_by_hand import FEW, POINTS, click, crops
from tests.report.test_browser_picked import PLANE, SHAPE, SIZE, page_of
from tests.support.chromium import (
    assert_no_complaint,
    drawn,
    needs_chromium,
    open_page,
    reload,
    the,
)
from tests.support.pages import data_of

pytestmark = needs_chromium
FIRST, LAST = 2, 18  # slices of windows of 5


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sections") / "report.html"
    data = data_of(page_of(FEW))
    path.write_text(tomogram_page(data | {"limits": [5, 15]}))
    return path


@pytest.fixture
def page(browser, path):
    open_page(browser, path)
    drawn(browser, PLANE)
    the(browser, "#sections summary").click()
    yield browser
    assert_no_complaint(browser)


def section(browser, plane: str, at: int) -> np.ndarray:
    """Grey values of a section, once it is drawn at a place."""
    css = f"figure[data-plane='{plane}']"
    WebDriverWait(browser, 10).until(lambda b: the(b, css).get_attribute("data-drawn") == str(at))
    values, rows, columns = browser.execute_script(
        """
        const canvas = document.querySelector(`${arguments[0]} canvas`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height);
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        return [Array.from(data).filter((_, n) => n % 4 === 0), canvas.height, canvas.width];
        """,
        css,
    )
    return np.array(values).reshape(rows, columns)


def lines(browser, plane: str) -> tuple[float, float]:
    """Where the lines of a section cross, in voxels across and down."""
    across, down = browser.execute_script(
        """
        const [across, down] = [...document.querySelectorAll(
          `figure[data-plane='${arguments[0]}'] line:not(.limit)`)];
        return [Number(across.getAttribute("y1")), Number(down.getAttribute("x1"))];
        """,
        plane,
    )
    return down / SIZE[2 if plane == "xz" else 1] - 0.5, across / SIZE[0] - 0.5


def test_sections_are_cut_from_the_slices(page):
    y, x = SHAPE[1] // 2, SHAPE[2] // 2
    volume, _ = crops(page, "xy")
    assert volume.shape == (LAST - FIRST + 1, *SHAPE[1:])
    np.testing.assert_array_equal(section(page, "xz", y), volume[:, y])
    np.testing.assert_array_equal(section(page, "yz", x), volume[:, :, x])
    assert lines(page, "xz") == pytest.approx((x, PLANE - FIRST))
    assert lines(page, "yz") == pytest.approx((y, PLANE - FIRST))


def test_where_slices_are_left_out_sections_are_interpolated(browser, path, tmp_path):
    data = data_of(path.read_text())
    kept = slice(None, None, 2)
    changes = {name: data[name][kept] for name in ("places", "grey")}
    for workflow in data["workflows"]:
        workflow["bits"] = workflow["bits"][kept]
    fewer = tmp_path / "fewer.html"
    fewer.write_text(tomogram_page(data | changes))
    open_page(browser, fewer)
    the(browser, "#sections summary").click()
    y = SHAPE[1] // 2
    ours = section(browser, "xz", y)
    volume, _ = crops(browser, "xy")
    assert volume.shape[0] == 9
    z = np.arange(17) / 2
    expected = [np.interp(z, np.arange(9), column) for column in volume[:, y].T]
    assert np.abs(ours - np.transpose(expected)).max() <= 0.5  # rounded
    assert_no_complaint(browser)


def test_lines_and_sections_follow_slice_and_particle(page):
    the(page, "body").send_keys("n", "n", "n")
    z, y, x = POINTS[2]
    drawn(page, z.astype(int))
    assert lines(page, "xz") == pytest.approx((x, z - FIRST))
    assert lines(page, "yz") == pytest.approx((y, z - FIRST))
    section(page, "xz", int(y))
    circle = the(page, "figure[data-plane='xz'] circle:last-child")
    told = [float(circle.get_attribute(name)) for name in ("cx", "cy", "r")]
    # Third in rank, the last one that this section cuts in the middle.
    drawn_ones = page.find_elements(By.CSS_SELECTOR, "figure[data-plane='xz'] circle")
    assert len(drawn_ones) == 3
    assert told == pytest.approx([(x + 0.5) * SIZE[2], (z - FIRST + 0.5) * SIZE[0], 60])
    page.execute_script("document.activeElement.blur()")
    the(page, "body").send_keys("\ue014")  # right
    drawn(page, int(z) + 1)
    assert lines(page, "xz")[1] == pytest.approx(z + 1 - FIRST)


def test_dragging_in_a_section_moves_slice_and_lines(page):
    view = the(page, "figure[data-plane='yz'] .view")
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", view)
    down = (4.5 / 17 - 0.5) * view.rect["height"]
    actions = ActionChains(page).move_to_element(view).click_and_hold()
    actions.move_by_offset(-view.rect["width"] / 4, down).release().perform()
    drawn(page, FIRST + 4)
    across, z = lines(page, "yz")
    assert across == pytest.approx(SHAPE[1] / 4, abs=1)
    assert z == pytest.approx(4)
    section(page, "xz", round(across))
    assert lines(page, "xz")[0] == pytest.approx(SHAPE[2] // 2)


def test_a_key_cuts_at_the_pointer(page):
    click(page, 20, 25)
    the(page, "body").send_keys("x")
    assert lines(page, "xz")[0] == pytest.approx(25, abs=1)
    assert lines(page, "yz")[0] == pytest.approx(20, abs=1)


def test_limits_of_the_fit_are_lines(page):
    limits = page.find_elements(By.CSS_SELECTOR, "figure[data-plane='xz'] line.limit")
    told = [float(line.get_attribute("y1")) / SIZE[0] for line in limits]
    # Above the first slice and below the last one that are fitted on.
    assert told == pytest.approx([5 - FIRST, 15 - FIRST])


def test_sections_stay_folded_out(page):
    reload(page)
    drawn(page, PLANE)
    assert the(page, "#planes").is_displayed()
    the(page, "#sections summary").click()
    assert not the(page, "#stage .lines").is_displayed()
