"""The page of all tomograms: rows, sorting, two handles, counts, YAML; in a real Chromium."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

pytest.importorskip("selenium")
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from picket_gpu import load_config
from picket_gpu.errors import Failure, PicketError
from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.report.collect import begin_report
from picket_gpu.report.picked import circles
from picket_gpu.report.row import MOST_HEIGHTS
from picket_gpu.report.slices import central
from picket_gpu.report.write import Index, write_page
from tests.support.chromium import (
    assert_no_complaint,
    ground,
    luminance,
    needs_chromium,
    open_page,
    set_range,
    the,
)
from tests.support.records import particles_of, segmentation_of, subject_of

pytestmark = needs_chromium

SHAPE = (24, 80, 100)
GMM, OTHER = ("gabor", "gmm"), ("intensities", "gmm")
FAILED, WAITING, PARTLY, WARNED, CROWDED, LIMITED, ODD, EMPTY = 3, 5, 6, 7, 8, 9, 10, 11
NUMBER = 12
CROWD = MOST_HEIGHTS + 700
SETTINGS = {"diameter": 140.0, "source": "score", "margin": 20.0, "workflows": ["gabor-gmm"]}


def heights_of(index):
    """Heights that fall into two groups, some of them thresholds themselves."""
    rng = np.random.default_rng(index)
    few = [rng.beta(2, 30, CROWD if index == CROWDED else 150), rng.normal(0.3, 0.05, 30)]
    exact = [0.12, 0.15, 0.2, 0.25, 0.3, 0.35]
    return np.sort(np.clip(np.concatenate([*few, exact]), 0.001, 0.6))[::-1]


def picked_in(index, subject, workflow=GMM):
    heights = heights_of(index) if workflow == GMM else heights_of(100 + index)
    points = np.random.default_rng(index).random((len(heights), 3)) * (np.array(SHAPE) - 1)
    threshold = {ODD: 0.33, EMPTY: 0.7}.get(index, 0.12 + 0.001 * index)
    settings = SETTINGS | ({"max_particles": 20} if index == LIMITED else {})
    count = int((heights >= threshold).sum())
    picks = Picks(points, heights, threshold, 20 if index == LIMITED else count)
    told = ParticleSettings(**settings).model_dump(mode="json", exclude_none=True)
    return particles_of(subject, picks, 140.0, workflow, settings=told)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Twelve tomograms, of which one failed, one in part, and one is not run."""
    directory = tmp_path_factory.mktemp("dataset")
    paths = {number: f"grid_{number % 2}/TS_{number * 7 % 12}.mrc" for number in range(NUMBER)}
    tomograms = {number: (Path(path).name, path) for number, path in paths.items()}
    index = Index(directory, "set", tomograms, {})
    picked, reports = {}, {}
    for number, path in paths.items():
        if number in (FAILED, WAITING):
            continue
        about = subject_of(
            SHAPE,
            index=number,
            tomogram=Path(path),
            name=Path(path).name,
            voxel_size=(10.0, 10.0, 10.0 + number % 3),
            warnings=(f"{path}: is odd", "and so on") if number == WARNED else (),
        )
        noise = np.random.default_rng(number).random(SHAPE[1:], dtype=np.float32)
        report = begin_report(about, lambda z, noise=noise: noise)
        for workflow in (GMM, OTHER):
            segmentation = segmentation_of(about, *workflow, foreground_fraction=number / 100)
            report.add(segmentation, np.zeros(SHAPE, dtype=np.int8))
        report.picked.append(picked_in(number, about))
        if number < 3:
            report.picked.append(picked_in(number, about, OTHER))
        picked[number], reports[number] = report.picked[0], report
        index.add(write_page(directory, report, alone=False, links={"index": "report.html"}))
    for number, mode, told in ((FAILED, None, "is truncated"), (PARTLY, "ffts", "no memory")):
        error = PicketError(f"{paths[number]}: {told}")
        index.add_failure(Failure(number, Path(paths[number]), mode, error))
    index.finish()
    return SimpleNamespace(
        page=directory / "report.html", paths=paths, picked=picked, reports=reports
    )


@pytest.fixture
def page(browser, dataset):
    open_page(browser, dataset.page)
    yield browser
    assert_no_complaint(browser)


def rows(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#rows tr")


def order(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tr')].map((row) => Number(row.dataset.index))"
    )


def cell(browser, number, column):
    """Text of the first line of a row's cell."""
    heads = browser.execute_script(
        "return [...document.querySelectorAll('#columns th')].map((head) => head.dataset.column)"
    )
    row = the(browser, f"#rows tr[data-index='{number}']")
    return row.find_elements(By.CSS_SELECTOR, "th, td")[heads.index(column)].text.split("\n")[0]


def expected(found, least=None, greatest=None):
    """How many particles there are, by the heights themselves."""
    heights = found.picks.candidate_heights
    kept = heights >= (found.threshold if least is None else least)
    if greatest is not None:
        kept &= heights <= greatest
    return min(int(kept.sum()), found.settings.get("max_particles", 10**9))


def shown(browser):
    """Numbers of particles by tomogram, and the total."""
    told = browser.execute_script(
        "return tomograms.map(({ count }) => (count ? count.textContent : null))"
    )
    total = the(browser, "#total").text.split()[-2].replace(",", "")
    return told, int(total)


# Rows.


def test_rows_are_all_tomograms_and_their_state_can_be_told(page, dataset):
    assert the(page, "#facts").text == "12 tomograms · 10 done · 1 failed · 1 not run yet"
    assert order(page) == list(range(NUMBER))
    for number, path in dataset.paths.items():
        row = the(page, f"#rows tr[data-index='{number}']")
        assert path in row.text
        assert row.find_element(By.CSS_SELECTOR, "th").text.split("\n")[0] == Path(path).name
    texts = [row.text for row in rows(page)]
    assert "failed: is truncated" in texts[FAILED]
    assert "not run yet" in texts[WAITING]
    assert "ffts failed: no memory" in texts[PARTLY]
    assert [row.get_attribute("class") for row in rows(page)].count("done") == 10
    details = rows(page)[WARNED].find_element(By.CSS_SELECTOR, "details")
    assert details.text == "2 warnings"
    details.find_element(By.CSS_SELECTOR, "summary").click()
    assert details.text.split("\n") == ["2 warnings", "is odd", "and so on"]
    assert cell(page, 4, "size") == "11 \N{MULTIPLICATION SIGN} 10 \N{MULTIPLICATION SIGN} 10 Å"


def test_numbers_are_those_of_the_run(page, dataset):
    told, total = shown(page)
    for number, found in dataset.picked.items():
        assert told[number] == f"{found.count:,}"
        assert cell(page, number, "threshold") == f"{found.threshold:.3g}"
    assert total == sum(found.count for found in dataset.picked.values())
    assert "10 tomograms" in the(page, "#from").text


def test_a_name_leads_to_its_page(page, dataset):
    page.find_element(By.LINK_TEXT, Path(dataset.paths[1]).name).click()
    assert page.current_url.endswith("report_1.html")
    page.back()
    assert len(rows(page)) == NUMBER


def test_shares_are_folded(page):
    assert not the(page, "[data-column='gabor gmm']").is_displayed()
    the(page, "#shares").click()
    assert the(page, "[data-column='gabor gmm']").is_displayed()
    assert rows(page)[4].find_elements(By.CSS_SELECTOR, ".share")[0].text == "4.0%"


# Sorting and filtering.


def keys(dataset):
    """What each column sorts by, without rows that have nothing."""
    done = dataset.picked
    sides = {n: np.prod(found.voxel_size) for n, found in done.items()}
    return {
        "number": {n: n for n in dataset.paths},
        "name": {n: int(Path(path).stem[3:]) for n, path in dataset.paths.items()},
        "size": sides,
        "particles": {n: found.count for n, found in done.items()},
        "threshold": {n: found.threshold for n, found in done.items()},
        "warnings": {FAILED: 9, PARTLY: 8, WARNED: 2, ODD: 1, EMPTY: 1.5},
        "gabor gmm": {n: n / 100 for n in done},
    }


def test_every_column_sorts_both_ways_by_mouse_and_keyboard(page, dataset):
    the(page, "#shares").click()
    heads = page.find_elements(By.CSS_SELECTOR, "#columns th[aria-sort] button")
    titles = [head.find_element(By.XPATH, "..").get_attribute("data-column") for head in heads]
    assert set(titles) == {*keys(dataset), "intensities gmm"}
    for column, values in keys(dataset).items():
        head = the(page, f"[data-column='{column}']")
        button = head.find_element(By.CSS_SELECTOR, "button")
        for way, press in (("ascending", button.click), ("descending", None)):
            if column == "number" and way == "ascending":
                assert head.get_attribute("aria-sort") == "ascending"  # from the beginning
            elif press:
                press()
            else:
                button.send_keys(Keys.ENTER)
            assert head.get_attribute("aria-sort") == way
            found = order(page)
            assert sorted(found) == list(range(NUMBER))
            there = [n for n in found if n in values]
            assert there == found[: len(there)], "what has no value is at the end"
            if column == "warnings":
                there = [n for n in there if n not in (ODD, EMPTY)]  # alike
            sides = [values[n] for n in there]
            assert sides == sorted(sides, reverse=way == "descending"), (column, way)
    sorts = [
        head.get_attribute("aria-sort")
        for head in page.find_elements(By.CSS_SELECTOR, "#columns th[aria-sort]")
    ]
    assert sorted(sorts)[:1] == ["descending"]
    assert set(sorts[:-2]) == {"none"}


def test_problems_come_first(page):
    the(page, "#problems").click()
    found = order(page)
    assert found[:2] == [FAILED, PARTLY]
    assert set(found[2:5]) == {WARNED, ODD, EMPTY}
    assert found[5:] == sorted(found[5:])
    the(page, "#problems").click()
    assert order(page) == list(range(NUMBER))


def test_rows_are_filtered_by_name_and_path(page, dataset):
    the(page, "#filter").send_keys("GRID_1")
    visible = [int(r.get_attribute("data-index")) for r in rows(page) if r.is_displayed()]
    assert visible == [n for n, path in dataset.paths.items() if "grid_1" in path]
    assert the(page, "#filtered").text == "6 of 12"
    the(page, "#filter").clear()
    the(page, "#filter").send_keys("ts_10")
    assert the(page, "#filtered").text == "1 of 12"


def test_the_head_stays(page):
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    head = the(page, "#columns th")
    top = page.execute_script("return arguments[0].getBoundingClientRect().top", head)
    assert top == pytest.approx(0, abs=1)


# Handles.


@pytest.mark.parametrize(
    ("least", "greatest"),
    [(0.12, None), (0.2, None), (0.2, 0.35), (None, 0.3), (0.3, 0.3), (0.4, None)],
)
def test_handles_count_exactly(page, dataset, least, greatest):
    if least is not None:
        set_range(page, "#least", least)
    if greatest is not None:
        set_range(page, "#greatest", greatest)
    told, total = shown(page)
    numbers = {n: expected(found, least, greatest) for n, found in dataset.picked.items()}
    assert {n: told[n] for n in numbers} == {n: f"{count:,}" for n, count in numbers.items()}
    assert total == sum(numbers.values()) > 0
    assert f"picked {dataset.picked[0].count}" in rows(page)[0].text
    the(page, "#reset").click()
    assert shown(page)[1] == sum(found.count for found in dataset.picked.values())
    assert not the(page, "#reset").is_enabled()


def test_a_crowded_tomogram_has_a_bound(page, dataset):
    """The page holds the highest only."""
    lowest = dataset.picked[CROWDED].picks.candidate_heights[MOST_HEIGHTS - 1]
    assert 0.01 < lowest < 0.1
    set_range(page, "#least", 0)
    told, _ = shown(page)
    assert told[CROWDED] == f"≥ {MOST_HEIGHTS:,}"
    assert told[0] == f"{len(heights_of(0)):,}"
    assert told[LIMITED] == "20"
    assert the(page, "#total").text.startswith("≥ ")
    assert f"{MOST_HEIGHTS:,} highest" in the(page, "#picks-notes").text


def test_handles_move_by_keyboard_and_have_names(page, dataset):
    least, greatest = the(page, "#least"), the(page, "#greatest")
    assert least.accessible_name == "Least height of a particle"
    assert greatest.accessible_name == "Greatest height of a particle"
    before = shown(page)[1]
    least.send_keys(Keys.PAGE_UP)
    after = shown(page)[1]
    assert after < before
    value = page.execute_script("return current.least / UNIT")
    assert after == sum(expected(found, value) for found in dataset.picked.values())
    assert least.get_attribute("aria-valuetext") == f"{value:g}; {after} particles"
    greatest.send_keys(Keys.PAGE_DOWN)
    most = page.execute_script("return current.greatest / UNIT")
    assert shown(page)[1] == sum(expected(f, value, most) for f in dataset.picked.values())
    assert the(page, "#chosen-greatest").text == f"{most:g}"
    least.send_keys(Keys.END)  # not above the other
    assert page.execute_script("return current.least / UNIT") == most
    least.send_keys(Keys.HOME)
    greatest.send_keys(Keys.END)
    assert page.execute_script("return current.greatest") is None
    assert not the(page, "#up-to").is_displayed()


def test_handles_are_dragged_in_the_histogram(page, dataset):
    plot = the(page, "#heights").rect
    scale = page.execute_script("return current.scale")

    def place(height):
        part = (height * 1e5 - scale["low"]) / (scale["high"] - scale["low"])
        return (part - 0.5) * plot["width"]

    for begin, end, name in ((0.13, 0.25, "least"), (0.59, 0.4, "greatest")):
        actions = ActionChains(page)
        actions.move_to_element_with_offset(the(page, "#heights"), round(place(begin)), 0)
        actions.click_and_hold().move_by_offset(round(place(end) - place(begin)), 0)
        actions.release().perform()
        value = page.execute_script(f"return current.{name} / UNIT")
        assert value == pytest.approx(end, abs=2 * 0.6 / plot["width"] + scale["step"] / 1e5)
    least, most = (page.execute_script(f"return current.{n} / UNIT") for n in ("least", "greatest"))
    assert shown(page)[1] == sum(expected(f, least, most) for f in dataset.picked.values())
    # Line and thumb are in one place.
    for name, value in (("least", least), ("greatest", most)):
        slider, line = the(page, f"#{name}").rect, the(page, f"#{name}-line").rect
        part = (value * 1e5 - scale["low"]) / (scale["high"] - scale["low"])
        thumb = slider["x"] + 9 + part * (slider["width"] - 18)
        assert line["x"] == pytest.approx(thumb, abs=1.5)


def test_both_thumbs_can_be_dragged(page):
    """Neither lies under the other's slider."""
    for name, way in (("least", 40), ("greatest", -40)):
        slider = the(page, f"#{name}")
        low, high = (float(slider.get_attribute(end)) for end in ("min", "max"))
        part = (float(slider.get_property("value")) - low) / (high - low)
        offset = (part - 0.5) * (slider.rect["width"] - 18)
        actions = ActionChains(page).move_to_element_with_offset(slider, round(offset), 0)
        actions.click_and_hold().move_by_offset(way, 0).release().perform()
        assert page.execute_script(f"return current.{name}") is not None


def test_the_histogram_counts_all_candidates(page, dataset):
    bars = page.execute_script(
        "return [...document.querySelectorAll('#bars rect')]"
        ".map((bar) => Number(bar.getAttribute('height')))"
    )
    scale = page.execute_script("return current.scale")
    edges = np.linspace(scale["low"] / 1e5, scale["high"] / 1e5, len(bars) + 1)
    heights = [f.picks.candidate_heights[:MOST_HEIGHTS] for f in dataset.picked.values()]
    counts, _ = np.histogram(np.concatenate(heights), edges)
    tall = np.where(counts, np.maximum(4, 100 * np.sqrt(counts / counts.max())), 0)
    assert np.abs(np.array(bars) - tall).max() < 100 * np.sqrt(2 / counts.max())  # at an edge


def test_circles_follow_the_handles(page, dataset):
    found = dataset.picked[0]
    layout = dataset.reports[0].layout
    every = circles(
        found.model_copy(
            update={"picks": Picks(*candidates(found), 0.0, len(candidates(found)[0]))}
        ),
        layout.places[central(len(layout.places))[1]],
    )
    assert len(every) > 20
    counts = []
    for least in (None, 0.3, 0.02):
        if least is not None:
            set_range(page, "#least", least)
        outline = rows(page)[0].find_element(By.CSS_SELECTOR, "path").get_attribute("d")
        number = expected(found, least)
        kept = Picks(*candidates(found), 0.0, number)
        now = circles(
            found.model_copy(update={"picks": kept}), layout.places[central(len(layout.places))[1]]
        )
        counts.append(outline.count("M"))
        assert counts[-1] == len(now)
    assert counts[1] < counts[0] < counts[2]
    assert rows(page)[FAILED].find_elements(By.CSS_SELECTOR, "img, path") == []


def candidates(found):
    return found.picks.candidates, found.picks.candidate_heights


def test_circles_lie_on_the_picture(page, dataset):
    """The first circle, on the screen; a voxel is wider than high."""
    row, number = rows(page)[1], 1
    layout = dataset.reports[number].layout
    x, y, radius = circles(dataset.picked[number], layout.places[central(len(layout.places))[1]])[0]
    box = row.find_element(By.CSS_SELECTOR, "img").rect
    scale = box["width"] / (SHAPE[2] * 11.0)
    assert box["height"] == pytest.approx(SHAPE[1] * 10.0 * scale, abs=1)
    left, top, wide = page.execute_script(
        """
        const svg = arguments[0].querySelector("svg"), path = svg.querySelector("path");
        path.setAttribute("d", "M" + path.getAttribute("d").split("M")[1]);
        const { left, top, width } = path.getBoundingClientRect();
        return [left + scrollX, top + scrollY, width];
        """,
        row,
    )
    assert left + wide / 2 - box["x"] == pytest.approx(x * scale, abs=0.6)
    assert top + wide / 2 - box["y"] == pytest.approx(y * scale, abs=0.6)
    assert wide == pytest.approx(2 * radius * scale, abs=1.8)  # and its line


def test_a_picking_is_chosen(page, dataset):
    set_range(page, "#least", 0.2)
    Select(the(page, "#picking")).select_by_visible_text("intensities gmm")
    assert "3 tomograms" in the(page, "#from").text
    found = [picked_in(n, dataset.reports[n].subject, OTHER) for n in range(3)]
    assert shown(page)[1] == sum(one.count for one in found)
    assert shown(page)[0][4] == "\N{EN DASH}"
    assert "workflows: [intensities-gmm]" in the(page, "#particles-yaml").get_property("value")
    Select(the(page, "#picking")).select_by_visible_text("gabor gmm")
    assert shown(page)[1] == sum(expected(f, 0.2) for f in dataset.picked.values())


def test_thresholds_that_differ_much_are_marked(page, dataset):
    """By how far, and what the median threshold would make of it."""
    middle = float(np.median([found.threshold for found in dataset.picked.values()]))
    marked = {
        int(row.get_attribute("data-index"))
        for row in rows(page)
        if [odd for odd in row.find_elements(By.CSS_SELECTOR, ".odd") if odd.text]
    }
    assert marked == {ODD, EMPTY}
    assert f"{0.33 - middle:.2g} above the median" in rows(page)[ODD].text
    rows(page)[ODD].find_element(By.CSS_SELECTOR, "summary").click()
    assert f"{expected(dataset.picked[ODD], middle)} particles" in rows(page)[ODD].text


# The parameter file.


def copied(browser):
    return yaml.safe_load(the(browser, "#particles-yaml").get_property("value"))


def index_of(browser, directory, pickings):
    """The page of tomograms with these particles."""
    names = {number: (f"{number}.mrc", f"{number}.mrc") for number in range(len(pickings))}
    index = Index(directory, "set", names, {})
    for number, found in enumerate(pickings):
        about = subject_of(
            SHAPE, index=number, tomogram=Path(f"{number}.mrc"), name=f"{number}.mrc"
        )
        report = begin_report(about, lambda z: np.eye(*SHAPE[1:], dtype=np.float32))
        report.add(
            segmentation_of(about, *GMM, foreground_fraction=0.5), np.zeros(SHAPE, dtype=np.int8)
        )
        report.picked.append(found)
        index.add(write_page(directory, report, alone=False, links={"index": "report.html"}))
    index.finish()
    open_page(browser, directory / "report.html")


def test_a_greatest_height_of_the_settings_holds_until_its_handle_is_moved(browser, tmp_path):
    told = ParticleSettings(**SETTINGS, max_height=0.3).model_dump(mode="json", exclude_none=True)
    pickings = []
    for number in range(3):
        heights = heights_of(number)
        points = np.random.default_rng(number).random((len(heights), 3)) * (np.array(SHAPE) - 1)
        first = int((heights > 0.3).sum())
        picks = Picks(points, heights, 0.12, int((heights >= 0.12).sum()) - first, first=first)
        about = subject_of(SHAPE, index=number)
        pickings.append(particles_of(about, picks, 140.0, GMM, settings=told))
    index_of(browser, tmp_path, pickings)

    def counted(least, greatest):
        return [str(expected(found, least, greatest)) for found in pickings]

    assert shown(browser)[0] == [str(found.count) for found in pickings] == counted(None, 0.3)
    assert the(browser, "#chosen-greatest").text == "0.3"
    assert copied(browser)["particles"]["max_height"] == 0.3
    set_range(browser, "#least", 0.2)
    assert shown(browser)[0] == counted(0.2, 0.3)
    assert copied(browser) == {"particles": SETTINGS | {"threshold": 0.2, "max_height": 0.3}}
    the(browser, "#greatest").send_keys(Keys.END)
    assert shown(browser)[0] == counted(0.2, None)
    assert copied(browser) == {"particles": SETTINGS | {"threshold": 0.2}}
    the(browser, "#reset").click()
    assert shown(browser)[0] == counted(None, 0.3)
    assert_no_complaint(browser)


def test_there_is_no_yaml_of_a_number_that_would_count_other_heights(page):
    told = SETTINGS | {"threshold": "dataset"}
    page.execute_script(
        "for (const pick of current.picks.values()) Object.assign(pick, {otherScale: true});"
        "for (const pick of current.picks.values()) pick.settings = arguments[0]; showThreshold()",
        told,
    )
    assert copied(page) == {"particles": told}
    set_range(page, "#greatest", 0.4)
    assert copied(page) == {"particles": told | {"max_height": 0.4}}
    set_range(page, "#least", 0.2)
    assert copied(page) is None
    assert "pick with threshold: auto" in the(page, "#particles-yaml").get_property("value")
    assert not the(page, "#copy-particles").is_enabled()


def test_the_copied_yaml_is_what_a_run_takes(page, tmp_path):
    config = {
        "dataset_name": "set",
        "inputs": [{"tomogram": "a.mrc"}],
        "feature_extraction_params": [{"mode": "gabor"}],
        "output_dir": str(tmp_path),
    }
    (tmp_path / "a.mrc").touch()
    told = copied(page)
    assert told == {"particles": SETTINGS}
    set_range(page, "#least", 0.2)
    told = copied(page)
    assert told == {"particles": SETTINGS | {"threshold": 0.2}}
    settings = load_config(config | told).particles
    assert settings == ParticleSettings(**SETTINGS, threshold=0.2)
    set_range(page, "#greatest", 0.4)
    assert copied(page)["particles"]["max_height"] == 0.4
    assert the(page, "#others").text == "1 tomogram was picked with other settings."
    the(page, "#copy-particles").click()
    WebDriverWait(page, 10).until(lambda b: the(b, "#particles-copied").text == "copied")
    page.execute_script("document.body.append(document.createElement('textarea'))")
    pasted = the(page, "body > textarea")
    pasted.send_keys(Keys.CONTROL, "v")
    assert pasted.get_property("value") == the(page, "#particles-yaml").get_property("value")


def test_settings_are_yaml_whatever_they_are(page):
    values = {"name": "12", "a": "no", "b": 1e-7, "c": [90.5, 1e6], "d": "x: y", "e": -0.00001}
    values |= {"f": True, "g": "shells2", "h": {"k": 1}}
    text = page.execute_script("return flowMapping(arguments[0])", values)
    assert yaml.safe_load(text) == values


# Looks.


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(page, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        assert (ground(page, "body") < 0.1) == (scheme == "dark")
        texts = ("#total", "#columns button", "#rows .path", ".failure", ".odd", ".waiting th")
        for css in (*texts, "#filter", "summary", "#particles-yaml", ".ends"):
            text = luminance(the(page, css).value_of_css_property("color"))
            light, dark = sorted((text, ground(page, css)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, css
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_focus_is_seen(page):
    page.execute_script("document.activeElement.blur()")
    seen = set()
    for _ in range(16):
        ActionChains(page).send_keys(Keys.TAB).perform()
        here = page.switch_to.active_element
        assert here.value_of_css_property("outline-style") == "solid"
        seen.add(here.get_attribute("id") or here.get_attribute("textContent"))
    assert {"least", "greatest", "copy-particles", "filter", "problems", "particles"} <= seen


@pytest.mark.parametrize("width", [800, 1280, 1600])
def test_nothing_is_cut_off(page, width):
    size = page.get_window_size()
    try:
        page.set_window_size(width, 900)
        wide = page.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0
    finally:
        page.set_window_size(size["width"], size["height"])
