"""Answers on the page: the model against NumPy, questions, choices.json; in a real Chromium."""

import csv
import json
import shlex
from base64 import b64encode

import numpy as np
import pytest
import yaml

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from picket_gpu.particles.picks import Picks
from picket_gpu.particles.settings import ParticleSettings
from picket_gpu.particles.threshold import otsu
from picket_gpu.report.page import tomogram_page
from tests.report.test_browser_picked import PLANE, SHAPE, page_of, particle_set
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
from tests.support.data import DATA
from tests.support.pages import data_of

pytestmark = needs_chromium
COUNT = 120
RNG = np.random.default_rng(7)
POINTS = RNG.random((COUNT, 3)) * (np.array(SHAPE) - 1)
HEIGHTS = np.sort(RNG.normal(0, 1, COUNT))[::-1].copy()
KIND = RNG.random(COUNT) < 0.4  # which candidates look alike
# Made up: two kinds that differ in a few numbers. Quantised as pages have them.
QUANTA = np.rint(
    8000 * np.clip(RNG.normal(size=(COUNT, 23)) + 1.5 * KIND[:, None] * (np.arange(23) < 6), -4, 4)
).astype("<i2")
X = QUANTA / 8000
FOUND = particle_set(
    Picks(POINTS, HEIGHTS, 0.0, int((HEIGHTS >= 0).sum())),
    diameter=120.0,
    settings={"diameter": 120.0, "source": "both", "threshold": "auto"},
)
HALF = COUNT // 2
BACKGROUND = [int(HALF + (i + 0.5) * (COUNT - HALF) / 10) for i in range(10)]


def described(found=FOUND, quanta=QUANTA, **changes) -> str:
    """A page whose candidates have descriptors."""
    data = data_of(page_of(found))
    data["picked"][0]["descriptors"] = b64encode(quanta.tobytes()).decode()
    return tomogram_page(data | changes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("answers") / "report.html"
    path.write_text(described())
    return path


@pytest.fixture
def page(browser, path):
    open_page(browser, path)
    drawn(browser, PLANE)
    yield browser
    assert_no_complaint(browser)


def answer(browser, answers: dict[int, bool]) -> None:
    for number, good in answers.items():
        script = "answer(current, current.candidates[arguments[0]], arguments[1])"
        browser.execute_script(script, number, good)


def kernel(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    squares = ((ones[:, None] - others[None]) ** 2).sum(axis=2)
    return 9 * np.exp(-squares / 46) + 9


def learned(answers: dict[int, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Candidates that the model learns from, and what they should have."""
    background = [rank for rank in BACKGROUND if rank not in answers]
    signs = [2.0 if good else -2.0 for good in answers.values()] + [-2.0] * len(background)
    return np.array([*answers, *background]), np.array(signs)


def odds_of(answers: dict[int, bool]) -> np.ndarray:
    """f of all candidates, by the equation as it stands."""
    who, wanted = learned(answers)
    inverse = np.linalg.inv(kernel(X[who], X[who]) + np.eye(len(who)))
    return HEIGHTS + kernel(X, X[who]) @ inverse @ (wanted - HEIGHTS[who])


def picked_by(answers: dict[int, bool]) -> list[int]:
    odds = odds_of(answers)
    chance = 1 / (1 + np.exp(-odds))
    threshold = otsu(chance)
    order = np.argsort(-odds, kind="stable").tolist()
    return [n for n in order if answers.get(n, chance[n] >= threshold)]


def kept(browser) -> list[int]:
    numbers = browser.execute_script("return pickedOf(current).map(({ number }) => number)")
    assert the(browser, "#kept").text == f"{len(numbers)} of {COUNT}"
    return numbers


ANSWERS = {0: True, 3: False, 60: True, BACKGROUND[2]: True, 100: False, 5: True, 8: False}


def test_the_model_is_that_of_the_command(page):
    answer(page, ANSWERS)
    ours = page.execute_script(
        "const { odds, values, threshold } = current.ranking;"
        "return { odds: [...odds], values: [...values], threshold }"
    )
    odds = odds_of(ANSWERS)
    np.testing.assert_allclose(ours["odds"], odds, rtol=0, atol=1e-9)
    chance = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(ours["values"], chance, rtol=0, atol=1e-9)
    assert ours["threshold"] == pytest.approx(otsu(chance), abs=1e-9)
    assert kept(page) == picked_by(ANSWERS)
    assert set(kept(page)) != set(np.flatnonzero(HEIGHTS >= 0))
    assert all((number in kept(page)) == good for number, good in ANSWERS.items())


def test_the_golden_numbers_of_the_command(browser, tmp_path):
    golden = json.loads((DATA / "choices_model.json").read_text())
    quanta, heights = np.array(golden["units"], "<i2"), np.array(golden["m"])
    points = np.random.default_rng(0).random((len(heights), 3)) * (np.array(SHAPE) - 1)
    picks = Picks(points, heights, 0.0, int((heights >= 0).sum()))
    path = tmp_path / "report.html"
    path.write_text(described(particle_set(picks, diameter=120.0), quanta))
    open_page(browser, path)
    drawn(browser, PLANE)
    assert (
        browser.execute_script("return backgroundOf(current).map(({ number }) => number)")
        == (golden["background"])
    )
    answer(browser, {each["rank"]: each["good"] for each in golden["answers"]})
    ours = browser.execute_script(
        "const { odds, values, threshold } = current.ranking;"
        "return { f: [...odds], p: [...values], threshold }"
    )
    for name, numbers in ours.items():
        np.testing.assert_allclose(numbers, golden[name], rtol=0, atol=1e-9)
    assert_no_complaint(browser)


def test_the_yaml_names_the_choices(page):
    answer(page, dict(list(ANSWERS.items())[:4]))
    set_range(page, "#least", 0.5)
    box = the(page, "#particles-yaml")
    particles = yaml.safe_load(box.get_property("value"))["particles"]
    assert particles == {"diameter": 120.0, "threshold": 0.5}
    answer(page, ANSWERS)
    particles = yaml.safe_load(box.get_property("value"))["particles"]
    assert particles == {"diameter": 120.0, "choices": "choices.json"}
    set_range(page, "#least", 0.7)
    particles = yaml.safe_load(box.get_property("value"))["particles"]
    assert particles == {"diameter": 120.0, "choices": "choices.json", "threshold": 0.7}


@pytest.mark.parametrize("values", [[], [0.5], [0.2, 0.2], [0.1, 0.9], "many"])
def test_the_threshold_is_otsus(page, values):
    values = np.random.default_rng(1).beta(0.4, 0.9, 500) if values == "many" else np.array(values)
    ours = page.execute_script("return otsu(arguments[0])", values.tolist())
    assert ours == pytest.approx(otsu(values), abs=1e-12)


def test_five_answers_are_needed_and_undo_goes_back_to_heights(page):
    four = dict(list(ANSWERS.items())[:4])
    answer(page, four)
    expected = [n for n in range(COUNT) if four.get(n, HEIGHTS[n] >= 0)]
    assert kept(page) == expected
    assert "1 more and they rank" in the(page, "#answered").text
    # An added place is an answer, but none that the model could learn from.
    page.execute_script("add(current, { z: 10, y: 1, x: 1 })")
    assert page.execute_script("return current.answers.length") == 5
    assert page.execute_script("return current.ranking.called") == "height"
    page.execute_script("undo(current)")
    answer(page, {100: False})
    assert kept(page) == picked_by(four | {100: False})
    assert the(page, ".ends .called").text == "probability"
    the(page, "body").send_keys("u")
    assert kept(page) == expected
    assert the(page, ".ends .called").text == "height"


def test_files_have_probabilities(page, tmp_path):
    answer(page, ANSWERS)
    path = saved(page, "#save-csv", tmp_path / "csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    chance = 1 / (1 + np.exp(-odds_of(ANSWERS)))
    for number, good in ANSWERS.items():
        if good:  # it stays at the threshold
            chance[number] = max(chance[number], otsu(1 / (1 + np.exp(-odds_of(ANSWERS)))))
    picked = picked_by(ANSWERS)
    who = sorted(picked, key=lambda n: (-chance[n], n not in ANSWERS, picked.index(n)))
    np.testing.assert_allclose([float(row["score"]) for row in rows], chance[who], atol=1e-9)
    np.testing.assert_array_equal([float(row["z"]) for row in rows], POINTS[who, 0])
    star = saved(page, "#save-star", tmp_path / "star").read_text()
    threshold = page.execute_script("return current.ranking.threshold")
    assert f"# threshold {threshold:.6g}\n" in star
    assert "probabilities by 7 answers" in star


def test_handles_are_of_probabilities_then(page):
    answer(page, ANSWERS)
    set_range(page, "#least", 0.9)
    chance = 1 / (1 + np.exp(-odds_of(ANSWERS)))
    assert set(kept(page)) == {n for n in range(COUNT) if ANSWERS.get(n, chance[n] >= 0.9)}
    the(page, "#reset").click()
    assert kept(page) == picked_by(ANSWERS)


def test_the_model_survives_a_reload(page):
    answer(page, ANSWERS)
    set_range(page, "#least", 0.8)
    before = kept(page)
    reload(page)
    drawn(page, PLANE)
    assert kept(page) == before
    assert unsaved(page)


# Questions.


def asked(browser) -> int | None:
    return browser.execute_script("return current.asked?.number ?? null")


def test_keys_answer_and_the_next_is_asked(page):
    body = the(page, "body")
    body.send_keys("n", "n")
    assert asked(page) == 1
    body.send_keys("g")
    assert page.execute_script("return current.answers.map(({ good }) => good)") == [True]
    # One answered: a pick at random.
    assert asked(page) in set(np.flatnonzero(HEIGHTS >= 0)) - {1}
    body.send_keys("b")
    # Two: the least sure, that is the nearest to the threshold.
    answers = page.execute_script("return current.answers.map(({ place }) => place.number)")
    among = max(60, 3 * int((HEIGHTS >= 0).sum()))
    open_ones = [n for n in range(min(among, COUNT)) if n not in answers]
    assert asked(page) == min(open_ones, key=lambda n: abs(HEIGHTS[n]))
    first = asked(page)
    body.send_keys("s")
    open_ones.remove(first)
    assert asked(page) == min(open_ones, key=lambda n: abs(HEIGHTS[n]))
    body.send_keys("u")
    assert asked(page) == first
    assert the(page, "#answered").text.startswith("2 answered: 1 good, 1 bad")
    for _ in range(4):
        body.send_keys("g")
    answers = page.execute_script("return current.answers.map(({ place }) => place.number)")
    assert len(set(answers)) == 6
    body.send_keys("u", "u")  # four answered: by heights, the least sure
    body.send_keys("b", "b")  # six: the least sure by the model
    told = page.execute_script(
        "return current.answers.map(({ place, good }) => [place.number, good])"
    )
    odds = odds_of(dict(told))
    open_ones = [n for n in range(min(among, COUNT)) if n not in dict(told)]
    assert asked(page) == min(open_ones, key=lambda n: abs(odds[n]))


def test_questions_come_from_everywhere_and_never_twice(page):
    body = the(page, "body")
    body.send_keys("n")
    seen = []
    for _ in range(24):
        seen.append(asked(page))
        body.send_keys("g" if KIND[seen[-1]] else "b")
    assert len(set(seen)) == 24
    told = page.execute_script(
        "return current.answers.map(({ place, good }) => [place.number, good])"
    )
    assert told == [[number, bool(KIND[number])] for number in seen]
    # What it has learned: the kind, where heights know nothing of it.
    rest = [n for n in range(COUNT) if n not in seen]
    chosen = set(kept(page))
    right = np.mean([(n in chosen) == KIND[n] for n in rest])
    by_heights = np.mean([(HEIGHTS[n] >= 0) == KIND[n] for n in rest])
    assert right > by_heights


def test_buttons_do_what_keys_do(page):
    the(page, "body").send_keys("n")
    for button, count in (("#good", 1), ("#bad", 2), ("#skip", 2)):
        before = asked(page)
        the(page, button).click()
        assert asked(page) not in (None, before)
        assert page.execute_script("return current.answers.length") == count


def test_answers_that_the_others_contradict_are_listed(page):
    # The kind is good, but for one slip.
    good = np.flatnonzero(KIND)[:12].tolist()
    bad = np.flatnonzero(~KIND)[:12].tolist()
    answers = {n: True for n in good} | {n: False for n in bad}
    answers[good[4]] = False
    answer(page, answers)
    who, wanted = learned(answers)
    against = {}
    for place, number in enumerate(who):
        rest = np.delete(who, place)
        weights = np.linalg.solve(
            kernel(X[rest], X[rest]) + np.eye(len(rest)), np.delete(wanted, place) - HEIGHTS[rest]
        )
        odds = HEIGHTS[number] + (kernel(X[[number]], X[rest]) @ weights)[0]
        if number in answers and -np.sign(wanted[place]) * odds > 1:
            against[int(number)] = -np.sign(wanted[place]) * odds
    expected = sorted(against, key=against.__getitem__, reverse=True)
    assert good[4] in expected
    ours = page.execute_script(
        "return contradictedOf(current).map(({ place, against }) => [place.number, against])"
    )
    assert [number for number, _ in ours] == expected
    np.testing.assert_allclose([v for _, v in ours], [against[n] for n in expected], atol=1e-9)
    buttons = page.find_elements(By.CSS_SELECTOR, "#contradicted button")
    assert len(buttons) == min(5, len(expected))
    buttons[0].click()
    assert asked(page) == expected[0]


def test_without_descriptors_hands_decide_alone(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(FOUND))
    open_page(browser, path)
    drawn(browser, PLANE)
    body = the(browser, "body")
    body.send_keys("n", "g", "b", "g", "b", "g", "b")
    answers = browser.execute_script(
        "return current.answers.map(({ place, good }) => [place.number, good])"
    )
    assert answers == [[n, n % 2 == 0] for n in range(6)]
    assert asked(browser) == 6
    assert kept(browser) == [n for n in range(COUNT) if HEIGHTS[n] >= 0 and n not in (1, 3, 5)]
    (told,) = json.loads(saved(browser, "#save-choices", tmp_path / "c").read_text())["tomograms"]
    assert [set(each) for each in told["answers"]] == [{"z", "y", "x", "good"}] * 6
    assert told["background"] == []
    assert_no_complaint(browser)


def test_candidates_beyond_the_descriptors(browser, tmp_path):
    """A page may hold more candidates than take part in the model."""
    path = tmp_path / "report.html"
    path.write_text(described(quanta=QUANTA[:100]))
    open_page(browser, path)
    drawn(browser, PLANE)
    answer(browser, {0: True, 1: True, 2: False, 3: False, 110: True})
    assert browser.execute_script("return current.ranking.called") == "height"
    answer(browser, {4: True})
    assert browser.execute_script("return current.ranking.called") == "probability"
    numbers = kept(browser)
    assert 110 in numbers
    assert not set(range(100, COUNT)) - {110} & set(numbers)
    assert "they rank the 100 highest candidates" in the(browser, "#answered").text
    bars = browser.execute_script(
        "return [...byId('bars').children].map((bar) => Number(bar.getAttribute('height')))"
    )
    assert bars[0] < 100  # not those 20
    ranks = browser.execute_script("return backgroundOf(current).map(({ number }) => number)")
    assert ranks == [int(50 + (i + 0.5) * 5) for i in range(10)]
    assert_no_complaint(browser)


# choices.json.


def unsaved(browser) -> bool:
    """Whether the page asks before it is left."""
    return browser.execute_script(
        "const event = new Event('beforeunload', { cancelable: true });"
        "window.dispatchEvent(event); return event.defaultPrevented"
    )


def test_choices_are_saved_and_leaving_without_asks(page, tmp_path):
    assert not unsaved(page)
    answer(page, ANSWERS)
    page.execute_script("add(current, { z: 10, y: 1.5, x: 2.25 })")
    assert unsaved(page)
    path = saved(page, "#save-choices", tmp_path / "choices")
    assert path.name == "choices.json"
    assert not unsaved(page)
    assert the(page, "#choices-told").text.startswith("saved")
    choices = json.loads(path.read_text())
    assert choices.keys() == {"format", "version", "picking", "tomograms"}
    assert (choices["format"], choices["version"]) == ("picket_gpu choices", 1)
    picking = {"mode": "gabor", "method": "gmm", "name": None, "diameter": 120.0}
    assert choices["picking"] == picking
    (tomogram,) = choices["tomograms"]
    data = page.execute_script("return { index: DATA.index, name: DATA.name, path: DATA.path }")
    assert {name: tomogram[name] for name in data} == data
    *told, added = tomogram["answers"]
    assert added == {"z": 10, "y": 1.5, "x": 2.25, "good": True}
    for (number, good), each in zip(ANSWERS.items(), told, strict=True):
        assert [each[axis] for axis in "zyx"] == POINTS[number].tolist()
        assert (each["good"], each["m"]) == (good, HEIGHTS[number])
        assert each["descriptor"] == X[number].tolist()
    rest = [rank for rank in BACKGROUND if rank not in ANSWERS]
    assert tomogram["background"] == [
        {"m": HEIGHTS[rank], "descriptor": X[rank].tolist()} for rank in rest
    ]
    answer(page, {50: True})
    assert unsaved(page)
    assert not the(page, "#choices-told").text.startswith("saved")
    page.execute_script("undo(current)")
    assert not unsaved(page)


def test_one_of_several_tomograms_names_the_file_by_its_number(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(described(links={"index": "report.html"}, index=3))
    open_page(browser, path)
    drawn(browser, PLANE)
    answer(browser, {0: False})
    assert saved(browser, "#save-choices", tmp_path / "c").name == "choices_3.json"
    assert "--choices choices_3.json " in the(browser, "#choices-command").get_property("value")
    assert_no_complaint(browser)


@pytest.mark.parametrize(("name", "ranked"), [(None, "ranked"), ("a" * 40, "a" * 34 + "Ranked")])
def test_the_command_is_one_that_the_shell_and_pick_take(browser, tmp_path, name, ranked):
    """Its list has a name of its own: the page needs the heights of the first."""
    directory = tmp_path / 'it\'s a "set", \u00e9 $HOME'
    found = FOUND.model_copy(update={"picking": name})
    (tmp_path / "report.html").write_text(page_of(found, directory=directory))
    open_page(browser, tmp_path / "report.html")
    drawn(browser, PLANE)
    command = the(browser, "#choices-command").get_property("value")
    python, module, pick, *arguments = shlex.split(command)
    assert (python, module, pick) == ("python", "-m", "picket_gpu.pick")
    assert arguments == [str(directory), "--choices", "choices.json", "--name", ranked]
    assert ParticleSettings(diameter=120, name=arguments[-1]).name == ranked
    the(browser, "#copy-command").click()
    WebDriverWait(browser, 10).until(lambda b: the(b, "#choices-told").text == "copied")
    assert_no_complaint(browser)


def test_a_list_by_answers_saves_no_choices(browser, tmp_path):
    """The command would rank by the new answers alone."""
    settings = FOUND.settings | {"choices": ["choices.json"]}
    found = FOUND.model_copy(update={"settings": settings, "picking": "ranked"})
    (tmp_path / "report.html").write_text(page_of(found))
    open_page(browser, tmp_path / "report.html")
    drawn(browser, PLANE)
    the(browser, "body").send_keys("n", "b")
    for css in ("#save-choices", "#copy-command", "#choices-command"):
        assert not the(browser, css).is_displayed()
    assert "one without choices" in the(browser, "#choices-told").text
    assert the(browser, "#save-csv").is_enabled()
    assert_no_complaint(browser)
