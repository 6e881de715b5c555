"""The demo's page in headless Chromium, driven by Playwright: both are skipped where they are missing."""

import os
import re
import shutil
import threading
import time

import pytest
from helpers import import_or_skip
from strokes import DRAWINGS, smooth

import fastmlp
from fastmlp.demo.server import DemoServer
from fastmlp.demo.training import train_on_digits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    sync_api = import_or_skip("playwright.sync_api")
    if CHROMIUM is None:
        if "playwright" in os.environ.get("FASTMLP_REQUIRE", "").split(","):
            pytest.fail("Chromium is missing")
        pytest.skip("Chromium is missing")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def model():
    return train_on_digits()


@pytest.fixture
def server(model):
    with DemoServer(model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser, server):
    yield from opened(browser, server)


def opened(browser, server, **options):
    """Yield the page; fail if its script has an error, or it asks another server for anything."""
    context = browser.new_context(**options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    own = f"http://127.0.0.1:{server.server_port}/"
    page.on("request", lambda request: request.url.startswith((own, "data:")) or wrong.append(request.url))
    page.goto(server.url)
    yield page
    context.close()
    assert not wrong


def draw(page, drawing, clear=True):
    """Draw with the mouse; returns the answers that were shown meanwhile."""
    if clear and page.get_by_role("button", name="Clear").is_enabled():
        page.get_by_role("button", name="Clear").click()
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box, shown = pad.bounding_box(), []
    for stroke in drawing:
        for i, (x, y) in enumerate(smooth(stroke, 6)):
            page.mouse.move(box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"])
            if i == 0:
                page.mouse.down()
            shown.append(page.locator("#probabilities").inner_text())
        page.mouse.up()
    return shown


def wait_for_answer(page, label):
    page.wait_for_function("label => document.getElementById('answer').textContent === label", arg=str(label))


def settle(page):
    """Wait until all requests are answered: while a drawing is made, answers to parts of it come in."""
    page.evaluate("() => waiting")


def probability(page, label):
    row = page.locator("#probabilities tbody tr").filter(has=page.locator("th", has_text=re.compile(f"^{label}$")))
    return float(row.locator("td").last.inner_text().rstrip("%"))


@pytest.mark.parametrize("digit", [1, 0, 7])
def test_strokes_are_recognized(page, digit):
    for drawing in DRAWINGS[digit][:3]:
        draw(page, drawing)
        settle(page)
        assert page.locator("#answer").inner_text() == str(digit)
        assert probability(page, digit) > 50
        assert page.locator("#seen").get_attribute("aria-label") == f"28 by 28 pixels of the drawing, read as {digit}"


def test_probabilities_move_while_the_digit_is_drawn(page):
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.85, steps=8)
    wait_for_answer(page, 1)  # the button is still down
    page.mouse.move(box["x"] + box["width"] * 0.85, box["y"] + box["height"] * 0.86, steps=8)
    page.wait_for_function("() => document.getElementById('answer').textContent !== '1'")
    page.mouse.up()


def test_a_wrong_answer_is_corrected_and_learnt(page):
    draw(page, DRAWINGS[7][0])
    wait_for_answer(page, 7)
    settle(page)
    before = probability(page, 1)
    page.get_by_role("button", name="It is 1", exact=True).click()
    wait_for_answer(page, 1)
    after = probability(page, 1)
    assert after > 50 > before
    lesson = page.locator("#lesson").inner_text()
    shown = [float(number) for number in re.findall(r"([\d.]+)%", lesson)]
    assert shown == [before, after]
    assert page.locator(".mark:visible").count() >= 2  # where the bars ended before
    draw(page, DRAWINGS[7][0])  # once more: it has been learnt, and the marks are gone
    settle(page)
    wait_for_answer(page, 1)
    assert page.locator(".mark:visible").count() == 0
    page.get_by_role("button", name="Forget all corrections").click()
    wait_for_answer(page, 7)


def test_a_correction_is_shown_though_an_earlier_answer_is_late(page):
    def late(route):
        response = route.fetch()
        time.sleep(0.2)
        route.fulfill(response=response)

    page.route("**/predict", late)
    draw(page, DRAWINGS[7][0])
    page.get_by_role("button", name="It is 1", exact=True).click()
    wait_for_answer(page, 1)
    page.wait_for_timeout(500)
    assert page.locator("#answer").inner_text() == "1"
    page.get_by_role("button", name="Forget all corrections").click()
    wait_for_answer(page, 7)


def test_fingers_draw_on_a_phone(browser, server):
    for page in opened(browser, server, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        touch = page.context.new_cdp_session(page)
        box = page.locator("#pad").bounding_box()
        for stroke in DRAWINGS[7][0]:
            points = [
                (box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]) for x, y in smooth(stroke, 6)
            ]
            for i, (x, y) in enumerate(points):
                kind = "touchMove" if i else "touchStart"
                touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        wait_for_answer(page, 7)


def test_everything_works_from_the_keyboard(page):
    page.locator("#pad").focus()
    page.keyboard.press("Space")
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    wait_for_answer(page, 1)
    page.wait_for_function("() => document.getElementById('spoken').textContent.startsWith('It is 1')")
    for name in ("Clear", "Undo stroke"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == name
    page.locator("#labels button").nth(4).focus()
    page.keyboard.press("Enter")
    wait_for_answer(page, 4)
    page.get_by_role("button", name="Forget all corrections").press("Enter")
    wait_for_answer(page, 1)
    page.locator("#pad").press("z")
    wait_for_answer(page, "?")
    page.locator("#pad").press("Space")
    page.keyboard.down("ArrowRight")
    page.keyboard.down("ArrowDown")  # diagonally
    page.keyboard.up("ArrowRight")
    page.keyboard.up("ArrowDown")
    page.locator("#pad").press("Delete")
    wait_for_answer(page, "?")


def test_a_screen_reader_finds_names_for_everything(page):
    unnamed = page.evaluate("""() => [...document.querySelectorAll('button, canvas, section, output')].filter(
        (each) => !each.textContent.trim() && !each.ariaLabel && !each.getAttribute('aria-labelledby'))
        .map((each) => each.outerHTML)""")
    assert unnamed == []
    draw(page, DRAWINGS[0][0])
    wait_for_answer(page, 0)
    assert page.locator("[aria-live=polite]").count() == 1
    assert page.locator("#lesson").get_attribute("role") == "status"
    assert page.locator("#probabilities tbody th[scope=row]").count() == 10
    assert "units are active" in page.locator("#units canvas").get_attribute("aria-label")


def test_the_page_says_when_the_demo_has_ended(browser, model):
    with DemoServer(model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        wait_for_answer(page, "?")
        context.set_offline(True)
        draw(page, DRAWINGS[1][0])
        page.get_by_text("The demo has ended: start fastmlp demo again.").wait_for()
        context.set_offline(False)
        draw(page, DRAWINGS[1][0])
        wait_for_answer(page, 1)
        assert page.locator("#problem").inner_text() == ""
        context.close()
        server.shutdown()
        thread.join()


def test_labels_of_another_data_set_are_shown_as_text(browser):
    mnist = fastmlp.load_mnist()
    x, y = mnist.x_train[:2000], [f"<b>{label}</b>" for label in mnist.y_train[:2000]]
    with DemoServer(fastmlp.train(x, y, epochs=2, seed=0)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for page in opened(browser, server, color_scheme="dark"):
            draw(page, DRAWINGS[0][0])
            wait_for_answer(page, "<b>0</b>")
            assert page.locator("b").count() == 0
        server.shutdown()
        thread.join()
