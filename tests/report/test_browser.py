"""The report as its readers meet it: a real Chromium opens the pages, and clicks and types."""

from pathlib import Path
from types import SimpleNamespace

import h5py
import mrcfile
import numpy as np
import pytest
import yaml
from scipy import ndimage

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from picket_gpu import load_config, run_s1
from tests.support.chromium import (
    assert_no_complaint,
    drawn,
    ground,
    luminance,
    needs_chromium,
    open_page,
    set_range,
    the,
)
from tests.support.data import DATA

pytestmark = needs_chromium
# As hostile as a name can be, with a directory so that even a closing tag is complete.
HOSTILE = 'a</script><script>document.title=1</script>/"it\'s" <b>&amp; é漢😀 {{data}}.mrc'


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Directory and results of the demo, fitted on few windows."""
    directory = tmp_path_factory.mktemp("demo")
    content = yaml.safe_load((DATA.parents[1] / "configs/demo.yaml").read_text())
    content |= {
        "inputs": [{"tomogram": DATA / "hiv_vlp_40A.mrc", "upper_z-slice_limit": 80}],
        "max_num_neighborhoods_for_fitting": 20_000,
        "output_dir": directory,
        "device": "cpu",
    }
    config = load_config(content)
    return SimpleNamespace(directory=config.directory, results=run_s1(config, quiet=True))


@pytest.fixture
def page(browser, demo):
    """The demo's report, freshly opened, its first slice drawn; errors on its console fail."""
    open_page(browser, demo.directory / "report.html")
    yield browser
    assert_no_complaint(browser)


def pixels(browser, kind: str, where: str = "#stage") -> np.ndarray:
    """A canvas, grey or mask, of the large picture or elsewhere, (rows, columns, 4) uint8."""
    values, rows, columns = browser.execute_script(
        """
        const canvas = document.querySelector(`${arguments[1]} canvas.${arguments[0]}`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height);
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        return [Array.from(data), canvas.height, canvas.width];
        """,
        kind,
        where,
    )
    return np.array(values, dtype=np.uint8).reshape(rows, columns, 4)


def thumb(workflow: str) -> str:
    return f".thumb[data-workflow='{workflow}']"


def wait_for_mask(browser, expected: np.ndarray, where: str = "#stage") -> None:
    WebDriverWait(browser, 10).until(
        lambda b: ((pixels(b, "mask", where)[:, :, 3] > 0) == expected).all()
    )


def labels_of(demo, workflow: str) -> np.ndarray:
    mode, method = workflow.split()
    with h5py.File(demo.directory / f"segmentation_0_{mode}_{method}.h5") as file:
        return file["segmentations/semantic_segmentation"][()]


def chosen(browser) -> str:
    """The workflow whose labels are drawn over the large picture."""
    (one,) = browser.find_elements(By.CSS_SELECTOR, ".thumb[aria-pressed='true']")
    assert the(browser, "#overlay").text == one.get_attribute("data-workflow")
    return one.get_attribute("data-workflow")


def fold_out(browser, *boxes: str) -> None:
    for box in boxes:
        the(browser, f"#{box} summary").click()


S2_KEYS = {"dataset_name", "output_dir", "inputs", "particle_extraction_params"}
S2_MODES = [
    {"mode": "connected_component_labeling"},
    {"mode": "watershed_segmentation", "min_distance": 15},
]


def yaml_box(browser):
    return yaml.safe_load(the(browser, "#yaml").get_property("value"))


WORKFLOWS = [f"{m} {c}" for m in ("ffts", "gabor", "intensities") for c in ("kmeans", "gmm")]


def test_every_picture_shows_its_slice(page, demo, hiv):
    drawn(page, 50)
    blurred = ndimage.gaussian_filter(hiv.astype(np.float32), 2)[50]
    for where in ("#stage", thumb("gabor gmm"), thumb("no overlay")):
        grey = pixels(page, "grey", where)[:, :, 0]
        assert np.corrcoef(grey.ravel(), blurred.ravel())[0, 1] > 0.99
    for workflow in WORKFLOWS:
        mask = pixels(page, "mask", thumb(workflow))[:, :, 3] > 0
        assert (mask == (labels_of(demo, workflow)[50] == 1)).all()
    assert not pixels(page, "mask", thumb("no overlay")).any()


def test_slider_keys_and_wheel_change_the_slice(page, demo):
    drawn(page, 50)
    the(page, "#slice").send_keys(Keys.ARROW_RIGHT)
    drawn(page, 51)
    assert the(page, "#z").text.startswith("51 of")
    mask = pixels(page, "mask", thumb("gabor gmm"))[:, :, 3] > 0
    assert (mask == (labels_of(demo, "gabor gmm")[51] == 1)).all()
    body = the(page, "body")
    page.execute_script("document.activeElement.blur()")
    for key, z in (
        (Keys.ARROW_LEFT, 50),
        (Keys.PAGE_UP, 60),
        (Keys.PAGE_DOWN, 50),
        (Keys.END, 98),
        (Keys.ARROW_RIGHT, 98),
        (Keys.HOME, 2),
    ):
        body.send_keys(key)
        drawn(page, z)
    origin = ScrollOrigin.from_element(the(page, "#stage"))

    def wheel(delta):
        ActionChains(page).key_down(Keys.SHIFT).scroll_from_origin(origin, 0, delta).key_up(
            Keys.SHIFT
        ).perform()

    wheel(100)
    drawn(page, 3)
    for _ in range(4):  # of a touchpad, small steps add up
        wheel(20)
    drawn(page, 4)
    for z in (3, 2):
        wheel(-100)
        drawn(page, z)


def test_arrows_move_the_slice_wherever_the_focus_is_but_in_fields_and_sliders(page):
    drawn(page, 50)
    fold_out(page, "compare", "s2")
    z = 50
    for css in ("#zoom-in", thumb("ffts gmm"), "#compare summary", "tbody select", "tbody input"):
        the(page, css).send_keys(Keys.ARROW_RIGHT)
        z += 1
        drawn(page, z)
    assert the(page, "tbody select").get_property("value") == "1"
    for css in ("#opacity", "#lower"):
        the(page, css).send_keys(Keys.ARROW_LEFT)
    assert the(page, "#opacity").get_property("value") == "49"
    the(page, "body").send_keys(Keys.ARROW_RIGHT)
    drawn(page, z + 1)


def test_the_overlay_is_chosen_by_thumbnail_and_by_number(page, demo):
    drawn(page, 50)
    assert chosen(page) == "gabor gmm"  # which particles are picked from
    the(page, thumb("gabor kmeans")).click()
    assert chosen(page) == "gabor kmeans"
    wait_for_mask(page, labels_of(demo, "gabor kmeans")[50] == 1)
    the(page, "body").send_keys("6")  # of those below the picture
    assert chosen(page) == "intensities gmm"
    wait_for_mask(page, labels_of(demo, "intensities gmm")[50] == 1)
    the(page, "body").send_keys("0")
    assert chosen(page) == "no overlay"
    wait_for_mask(page, np.zeros((135, 135), dtype=bool))


def seen(browser) -> np.ndarray:
    """Left, top, right, bottom of the stage, in parts of the picture."""
    stage, view = the(browser, "#stage").rect, the(browser, "#stage .view").rect
    ends = [stage["x"] - view["x"], stage["y"] - view["y"]]
    ends += [ends[0] + stage["width"], ends[1] + stage["height"]]
    return np.array(ends) / ([view["width"], view["height"]] * 2)


def test_the_picture_is_zoomed_about_the_pointer_and_dragged(page):
    drawn(page, 50)
    whole = seen(page)
    np.testing.assert_array_less(whole, [1e-3, 1e-3, np.inf, np.inf])
    np.testing.assert_array_less(-whole, [np.inf, np.inf, 1e-3 - 1, 1e-3 - 1])
    assert the(page, "#stage").rect["width"] > 0.55 * page.execute_script("return innerWidth")
    stage = the(page, "#stage")
    origin = ScrollOrigin.from_element(stage, 60, 40)
    before = {name: value for name, value in the(page, "#stage .view").rect.items()}
    ActionChains(page).scroll_from_origin(origin, 0, -200).perform()
    after = the(page, "#stage .view").rect
    assert after["width"] == pytest.approx(2 * before["width"], rel=1e-3)
    for start, side, offset in (("x", "width", 60), ("y", "height", 40)):
        middle = stage.rect[start] + stage.rect[side] / 2 + offset
        parts = [(middle - rect[start]) / rect[side] for rect in (before, after)]
        assert parts[0] == pytest.approx(parts[1], abs=2e-3)
    ActionChains(page).drag_and_drop_by_offset(stage, 50, -30).perform()
    moved = the(page, "#stage .view").rect
    assert moved["x"] - after["x"] == pytest.approx(50, abs=1)
    assert moved["y"] - after["y"] == pytest.approx(-30, abs=1)
    ActionChains(page).drag_and_drop_by_offset(stage, 300, 0).perform()
    ActionChains(page).drag_and_drop_by_offset(stage, 300, 0).perform()
    assert seen(page)[0] == pytest.approx(0, abs=2e-3)  # it ends at the border
    assert page.execute_script("return window.scrollY") == 0
    the(page, "#zoom-fit").click()
    np.testing.assert_allclose(seen(page), whole, atol=1e-3)
    the(page, "body").send_keys("+")
    assert the(page, "#stage .view").rect["width"] == pytest.approx(2 * before["width"], rel=1e-3)
    the(page, "body").send_keys("f")
    ActionChains(page).scroll_from_origin(origin, 0, 300).perform()  # nothing to zoom out of
    WebDriverWait(page, 10).until(lambda b: b.execute_script("return window.scrollY") > 0)


def test_a_page_is_as_it_was_left(page):
    drawn(page, 50)
    the(page, thumb("gabor gmm")).click()
    the(page, "body").send_keys(Keys.PAGE_UP, "+")
    drawn(page, 60)
    set_range(page, "#opacity", 70)
    the(page, "#compare summary").click()
    left = seen(page)
    page.refresh()
    drawn(page, 60)
    assert chosen(page) == "gabor gmm"
    assert the(page, "canvas.mask").value_of_css_property("opacity") == "0.7"
    np.testing.assert_allclose(seen(page), left, atol=1e-3)
    assert the(page, "#rows").is_displayed()


def test_what_keys_do_is_behind_a_key(page):
    drawn(page, 50)
    assert not the(page, "#help dl").is_displayed()
    the(page, "body").send_keys("?")
    assert the(page, "#help dl").is_displayed()
    the(page, "body").send_keys("?")
    assert not the(page, "#help dl").is_displayed()


@pytest.mark.parametrize("size", [(800, 900), (1280, 800), (1600, 1000)])
def test_the_layout_fits_and_holds_still(page, size):
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        drawn(page, 50)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        stage = the(page, "#stage").rect
        assert stage["y"] + stage["height"] <= height
        if width > 900:
            assert 0.52 < stage["width"] / width < 0.65
            assert the(page, "#slice").rect["x"] > stage["x"] + stage["width"]
        sliders = [the(page, f"#{name}").rect["y"] for name in ("opacity", "black", "white")]
        assert max(sliders) - min(sliders) < 1
        spans = page.find_elements(By.CSS_SELECTOR, ".controls label > span")
        assert len({span.rect["y"] for span in spans}) == 1
        for key in ("2", "0", "5", Keys.ARROW_RIGHT):
            the(page, "body").send_keys(key)
            assert the(page, "#stage").rect == stage
            assert [
                the(page, f"#{name}").rect["y"] for name in ("opacity", "black", "white")
            ] == sliders
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_swapping_the_label_swaps_picture_share_and_cluster_id(page, demo):
    drawn(page, 50)
    fold_out(page, "compare")
    the(page, thumb("gabor gmm")).click()
    caption = the(page, f"{thumb('gabor gmm')} .quiet")
    share = float(caption.text.removeprefix("label 1: ").removesuffix("%"))
    the(page, "[aria-label='Use gabor gmm in S2']").click()
    assert yaml_box(page)["inputs"][0]["particle_cluster_id"] == 1
    Select(the(page, "[aria-label='Particles in gabor gmm']")).select_by_visible_text("label 0")
    assert caption.text == the(page, "#share").text == f"label 0: {100 - share:.1f}%"
    assert yaml_box(page)["inputs"][0]["particle_cluster_id"] == 0
    for where in ("#stage", thumb("gabor gmm")):
        wait_for_mask(page, labels_of(demo, "gabor gmm")[50] == 0, where)


def test_the_yaml_is_what_s2_reads(page, demo):
    fold_out(page, "compare", "s2")
    assert yaml_box(page) is None  # nothing chosen yet, a comment says so
    for workflow in ("gabor gmm", "ffts kmeans"):
        the(page, f"[aria-label='Use {workflow} in S2']").click()
    box = yaml_box(page)
    assert box.keys() == S2_KEYS
    assert box["particle_extraction_params"] == S2_MODES
    directory = Path(box["output_dir"]) / box["dataset_name"]
    assert directory.is_absolute()
    assert all(Path(entry["segmentation"]).parent == directory for entry in box["inputs"])
    first, second = box["inputs"]
    assert first == {
        "segmentation": str(demo.directory / "segmentation_0_ffts_kmeans.h5"),
        "particle_cluster_id": 1,
        "upper_z-slice_limit": 79,  # the fit's, which excludes 80; S2 includes its upper limit
    }
    assert second["segmentation"].endswith("segmentation_0_gabor_gmm.h5")
    the(page, "#lower-here").click()
    upper = the(page, "#upper")
    upper.clear()
    upper.send_keys("90")
    for entry in yaml_box(page)["inputs"]:
        assert entry["lower_z-slice_limit"] == 50
        assert entry["upper_z-slice_limit"] == 90
    for wrong in ("20", "101", "60.5", "-3"):
        upper.clear()
        upper.send_keys(wrong)
        assert yaml_box(page) is None, wrong
    upper.clear()
    upper.send_keys("50")  # one slice
    assert yaml_box(page)["inputs"][0]["upper_z-slice_limit"] == 50


def test_copying_puts_the_yaml_on_the_clipboard(page):
    fold_out(page, "compare", "s2")
    the(page, "[aria-label='Use ffts gmm in S2']").click()
    the(page, "#copy").click()
    WebDriverWait(page, 10).until(lambda b: the(b, "#copied").text == "copied")
    page.execute_script("document.body.append(document.createElement('textarea'))")
    pasted = the(page, "body > textarea")
    pasted.send_keys(Keys.CONTROL, "v")
    assert pasted.get_property("value") == the(page, "#yaml").get_property("value")


def test_opacity_and_contrast(page, demo):
    drawn(page, 50)
    mask, filtered = the(page, "canvas.mask"), the(page, "canvas.grey")
    assert mask.value_of_css_property("opacity") == "0.5"
    set_range(page, "#opacity", 80)
    assert mask.value_of_css_property("opacity") == "0.8"
    assert "contrast" in filtered.value_of_css_property("filter")
    # Percentiles of all slices, against those of what the page itself draws.
    set_range(page, "#black", 20)
    set_range(page, "#white", 90)
    assert the(page, "#black-text").text == "20%"
    function = the(page, "feFuncG")
    slope, intercept = (float(function.get_attribute(a)) for a in ("slope", "intercept"))
    low, high = -intercept / slope * 255, (1 - intercept) / slope * 255
    histogram = np.array(page.execute_script("return DATA.histogram"))
    below = np.cumsum(histogram) / histogram.sum()
    assert below[round(low) - 1] < 0.2 <= below[round(low)]
    assert below[round(high) - 1] < 0.9 <= below[round(high)]


def test_scale_bar_and_limits_are_where_they_should_be(page):
    panel, bar = the(page, "#stage .view"), the(page, "#stage .scale")
    assert bar.text == "100 nm"
    # 135 voxels of 4 nm.
    assert bar.size["width"] / panel.size["width"] == pytest.approx(100 / 540, rel=0.05)
    # Fitted up to z 79 of slices 2 to 98, by a thumb of 18 pixels.
    slider, band = the(page, "#slice").rect, the(page, "#fitted").rect
    run = slider["width"] - 18
    end = band["x"] + band["width"] - slider["x"] - 9
    assert end / run == pytest.approx((79 - 2) / 96, abs=0.01)
    assert "fitted on z-slices 0-79" in the(page, "#facts").text


def test_the_table_tells_each_workflow(page, demo):
    fold_out(page, "compare")
    rows = page.find_elements(By.CSS_SELECTOR, "#rows tr")
    assert len(rows) == 6
    for row, result in zip(rows, demo.results, strict=True):
        cells = [cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")]
        assert cells[0] == f"{result.mode} {result.method}"
        assert cells[1] == f"{result.foreground_fraction:.1%}"
        assert cells[6] == str(result.iterations)
        _, count = ndimage.label(result.labels == 1)
        sizes = np.bincount(ndimage.label(result.labels == 1)[0].ravel())[1:]
        large, small = cells[2].split("\n+ ")
        assert int(large) == (sizes >= 27).sum() <= count
        assert int(small.removesuffix(" smaller").replace(",", "")) == (sizes < 27).sum()
        assert cells[3] == f"{sizes.max() / sizes.sum():.1%}"
        plot = row.find_element(By.CSS_SELECTOR, "svg")
        median = np.median(40 * np.cbrt(6 / np.pi * sizes[sizes >= 27])) / 10
        assert plot.get_attribute("aria-label").startswith("median ")
        assert float(plot.get_attribute("aria-label").split()[1]) == pytest.approx(median, rel=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(page, scheme):
    """Contrast of at least 4.5 to 1 (WCAG 2, level AA), on whatever a text lies."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        background = ground(page, "body")
        assert (background < 0.1) == (scheme == "dark")
        for css in (
            "h1",
            "#facts",
            "thead th",
            "tbody th",
            "kbd",
            ".thumb .quiet",
            "#share",
            "#zoom-in",
            "#yaml",
        ):
            text = luminance(the(page, css).value_of_css_property("color"))
            light, dark = sorted((text, ground(page, css)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, css
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_comes_from_a_network(page):
    names = page.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in names if not name.startswith("data:")] == []


# Several tomograms, with names that would break a page that trusts them.


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    directory = tmp_path_factory.mktemp("several")
    hostile = directory / HOSTILE
    hostile.parent.mkdir(parents=True)
    volume = mrcfile.read(DATA / "phantom_a.mrc")[:20, :40, :50]
    mrcfile.write(hostile, volume)  # without a voxel size
    mrcfile.write(directory / "plain.mrc", volume, voxel_size=10)
    config = {
        "dataset_name": "</title><b>\"'&é",
        "inputs": [
            {"tomogram": hostile, "lower_z-slice_limit": 5, "upper_z-slice_limit": 15},
            {"tomogram": directory / "plain.mrc"},
        ],
        "feature_extraction_params": [{"mode": "gabor"}, {"mode": "intensities"}],
        "output_dir": directory / "out <i>",
        "device": "cpu",
    }
    # What would be run as `</title>` holds a slash, which no directory name may have.
    config["dataset_name"] = config["dataset_name"].replace("/", "")
    return SimpleNamespace(config=config, results=run_s1(config, quiet=True))


def test_hostile_names_are_shown_and_nothing_more(browser, several):
    directory = several.results[0].path.parent
    open_page(browser, directory / "report_0.html")
    drawn(browser, 10)
    assert the(browser, "h1").text == Path(HOSTILE).name
    assert browser.title == Path(HOSTILE).name
    assert HOSTILE in the(browser, "#facts").text
    assert browser.find_elements(By.CSS_SELECTOR, "b, i") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "script")) == 3
    fold_out(browser, "compare")
    the(browser, "[aria-label='Use gabor gmm in S2']").click()
    (entry,) = yaml_box(browser)["inputs"]
    assert entry == {
        "segmentation": str(directory / "segmentation_0_gabor_gmm.h5"),
        "particle_cluster_id": 1,
        "lower_z-slice_limit": 5,
        "upper_z-slice_limit": 14,
    }
    assert_no_complaint(browser)


def test_without_a_voxel_size_there_is_no_scale_bar(browser, several):
    open_page(browser, several.results[0].path.with_name("report_0.html"))
    drawn(browser, 10)
    assert browser.find_elements(By.CSS_SELECTOR, ".scale") == []
    assert "unknown size" in the(browser, "#facts").text
    assert "voxels" in the(browser, "#rows svg").get_attribute("aria-label")
    assert_no_complaint(browser)


def test_the_index_leads_to_every_page_and_gives_s2_for_all(browser, several):
    directory = several.results[0].path.parent
    open_page(browser, directory / "report.html")
    assert the(browser, "h1").text == several.config["dataset_name"]
    rows = browser.find_elements(By.CSS_SELECTOR, "#rows tr")
    assert len(rows) == 2
    assert HOSTILE in rows[0].text
    shares = [cell.text for cell in rows[0].find_elements(By.CSS_SELECTOR, "td.number")][1:]
    assert shares == [f"{result.foreground_fraction:.1%}" for result in several.results[:4]]
    the(browser, "summary").click()
    Select(the(browser, "#workflow")).select_by_visible_text("intensities gmm")
    Select(the(browser, "#particle")).select_by_visible_text("label 0")
    assert yaml_box(browser).keys() == S2_KEYS
    assert yaml_box(browser)["inputs"] == [
        {
            "segmentation": str(directory / "segmentation_0_intensities_gmm.h5"),
            "particle_cluster_id": 0,
            "lower_z-slice_limit": 5,
            "upper_z-slice_limit": 14,
        },
        {
            "segmentation": str(directory / "segmentation_1_intensities_gmm.h5"),
            "particle_cluster_id": 0,
        },
    ]
    browser.find_element(By.LINK_TEXT, "plain.mrc").click()
    drawn(browser, 10)
    assert the(browser, "h1").text == "plain.mrc"
    the(browser, "#pages a[href='report_0.html']").click()
    drawn(browser, 10)
    the(browser, "#pages a[href='report.html']").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#rows tr")) == 2
    assert_no_complaint(browser)
