"""The page in a real browser: sorting, links, a telephone's width, and nothing fetched from anywhere."""

import shutil
from dataclasses import replace

import pytest

from tests.support import made_up
from tests.support.reports import Written

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIEWS = ("original", "jpeg-75", "jpeg-50", "jpeg-25", "webp-50", "webp-25", "avif-50", "blur-2", "noise-0.05")

MEANS = ("ig", "loss_difference", "positive_share", "mass_top_10", "gini", "evaluations")
SUMMARY = {
    "mean": dict.fromkeys(MEANS, -0.25),
    "residual": {"median": 0.01, "percentile_95": 0.02},
    "not_converged": 1,
}
ATTRIBUTION = {"indices": [0, 1], "views": dict.fromkeys(VIEWS[1:], SUMMARY)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    sizes = {view: 900 - 50 * place for place, view in enumerate(VIEWS) if view[:4] in ("jpeg", "webp", "avif")}
    for split in ("test", "train"):
        for encoder, right in (("RN50", 160), ("RN101", 150), ("an encoder with a long name, longer than most", 140)):
            predictions = made_up.nested({view: right - 10 * place for place, view in enumerate(VIEWS)}, 200)
            record = made_up.run_record(predictions, encoder=encoder, split=split, sizes=sizes)
            record = replace(record, attribution=ATTRIBUTION)
            made_up.write_run(folder / "runs" / f"{split}-{right}", record, predictions, sizes)
    return Written(folder / "page", folder / "runs")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install '.[browser]'")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, report):
    """Opens the page in a window of a size; what it asked for and what it complained about are its attributes."""

    def opened(width, height=900):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto((report.folder / "index.html").as_uri())
        return page

    return opened


def test_a_click_on_a_head_sorts_by_value_and_a_second_one_backwards(open_page):
    page = open_page(1400)
    table = page.locator("table").first
    head = table.locator("th").nth(1)
    values = []
    for _ in range(2):
        head.click()
        cells = table.locator("tbody tr td:nth-child(2)").evaluate_all("all => all.map(one => Number(one.dataset.v))")
        values.append(cells)
    assert len(values[0]) >= 3
    assert values == [sorted(values[0], reverse=True), sorted(values[0])]


def test_every_link_leads_to_a_place_on_the_page(open_page):
    page = open_page(1400)
    targets = page.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href').slice(1))")
    places = set(page.locator("[id]").evaluate_all("all => all.map(one => one.id)"))
    assert len(targets) > 20
    assert set(targets) <= places
    page.locator("ul.findings a").first.click()
    place = page.url.split("#")[1]
    assert 0 <= page.evaluate("id => document.getElementById(id).getBoundingClientRect().top", place) < 100


def test_contents_stay_in_sight_and_the_way_back_leads_to_the_top(open_page):
    page = open_page(1400)
    page.evaluate("window.scrollTo(0, 3000)")
    box = page.locator("nav").bounding_box()
    assert box["y"] >= 0
    assert page.evaluate("window.scrollY") > 0
    page.locator("a.top").click()
    assert page.evaluate("window.scrollY") == 0


def test_every_table_has_room(open_page):
    page = open_page(1400)
    boxes = page.locator(".scroll").evaluate_all("all => all.map(one => [one.clientWidth, one.scrollWidth])")
    assert len(boxes) > 10
    assert [box for box in boxes if box[1] > box[0]] == []


def test_a_telephone_need_not_be_scrolled_sideways(open_page):
    page = open_page(390, 800)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator("nav details").evaluate("one => one.open")
    assert page.locator("ul.findings").first.bounding_box()["y"] < 800


def test_nothing_is_fetched_and_nothing_is_refused(open_page, report):
    page = open_page(1400)
    page.wait_for_load_state("networkidle")
    outside = [url for url in page.asked if not url.startswith(("data:", (report.folder / "index.html").as_uri()))]
    assert (outside, page.complaints) == ([], [])
    widths = page.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert widths
    assert all(widths)
