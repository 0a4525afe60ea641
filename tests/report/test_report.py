"""report.html as somebody opens it: from disk, without a network, in a real browser, with mouse,
finger and keyboard.
"""

import csv
import html
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from scripts import run_here
from strokes import DIGITS, draw

import jaxnet
from jaxnet.diagnostics.findings import Code
from jaxnet.report import figures
from jaxnet.report.html import document, examples
from jaxnet.report.html.document import chart
from jaxnet.report.html.page import page as html_of
from jaxnet.report.html.placement import placement

LARGEST = 3_000_000  # bytes
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of one network on digits."""
    out = tmp_path_factory.mktemp("one") / "run"
    run_here("--no-cache", "--out", out, script="digits")
    return out


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The folder of a diagnosis with eight networks."""
    out = tmp_path_factory.mktemp("several") / "run"
    run_here(
        "--no-cache", "--hidden", 32, "--epochs", 8, "--members", 8, "--out", out, script="digits"
    )
    return out


@pytest.fixture
def visit(browser):
    """A function that opens a page without a network, and at the end of the test sees that it
    neither complained nor asked for anything.
    """
    opened = []

    def open_it(path, size=DESKTOP, **more):
        context = browser.new_context(viewport=size, offline=True, **more)
        tab, heard = context.new_page(), []
        tab.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on(
            "request",
            lambda request: (
                request.url.startswith(("data:", path.as_uri())) or heard.append(request.url)
            ),
        )
        tab.goto(path.as_uri())
        opened.append((context, heard))
        return tab

    yield open_it
    for context, heard in opened:
        context.close()
        assert heard == []


def answer(tab):
    """What the playground says, once it has drawn what it was given."""
    tab.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return tab.inner_text("#answer").split(",")[0]


def answers(tab):
    """What it says to each of the ten digits."""
    said = {}
    tab.locator("#draw").scroll_into_view_if_needed()
    for digit, lines in DIGITS.items():
        tab.click("#clear")
        assert answer(tab).startswith("Nothing")
        draw(tab, lines)
        said[digit] = answer(tab)
    return said


def test_the_page_says_what_the_result_says_and_names_no_network(one, several):
    for folder in (one, several):
        text, found = (
            (folder / "report.html").read_text(),
            json.loads((folder / "result.json").read_text()),
        )
        for words in found["verdict"].split(": ", 1):
            assert html.escape(words) in text
        for finding in found["findings"]:
            assert html.escape(finding["evidence"]) in text
        assert f"{found['error']['test']['estimate']:.2%}" in text
        if found["error"]["test"]["low"] is not None:  # four members are too few for an interval
            assert (
                f"{found['error']['test']['low']:.2%} to {found['error']['test']['high']:.2%}"
                in text
            )
        assert "http" not in re.sub('content="default[^>]*', "", text).replace("http-equiv", "")
        assert len(text) < LARGEST
    parts = json.loads((several / "result.json").read_text())["diagnosis"]["decompositions"]
    assert f"{parts[0]['bias']['estimate']:.2%}" in (several / "report.html").read_text()


def test_ten_drawn_digits_are_recognized_without_a_network(one, visit):
    said = answers(visit(one / "report.html"))
    assert sum(said[digit] == str(digit) for digit in DIGITS) >= 8, said


@pytest.mark.slow
def test_a_network_trained_on_mnist_recognizes_drawn_digits(mnist_folder, tmp_path, visit):
    run_here(
        "--no-cache",
        "--data-dir",
        mnist_folder,
        "--epochs",
        4,
        "--out",
        tmp_path / "run",
        script="mnist",
    )
    said = answers(visit(tmp_path / "run/report.html"))
    assert sum(said[digit] == str(digit) for digit in DIGITS) >= 9, said


def test_probabilities_are_those_of_predict(one, several, visit, digits):
    x = np.asarray(digits.test.x[:100])
    compute = (
        "images => images.map(image => "
        "Array.from(playground.network.run(Float32Array.from(image)).probabilities))"
    )
    for folder, hidden in ((one, (256, 128)), (several, (32,))):
        shown = np.array(
            visit(folder / "report.html").evaluate(
                compute, x.reshape(100, -1).astype(float).tolist()
            )
        )
        told = np.exp(jaxnet.predict(jaxnet.mlp(hidden), jaxnet.restore(folder / "params"), x))
        assert np.abs(shown - told).max() <= 1e-3


def test_members_that_disagree_are_named(several, visit, digits):
    tab = visit(several / "report.html")
    x = np.asarray(digits.test.x)
    # the saved network, and those of the folds
    votes = np.load(several / "members/predictions/test.npy")[:8].argmax(2)
    torn = int(np.argmax([len(set(votes[:, i])) for i in range(len(x))]))
    assert len(set(votes[:, torn])) > 1
    tab.evaluate("image => playground.show(image)", x[torn].ravel().astype(float).tolist())
    said = tab.inner_text("#members")
    assert "of 8 networks" in said.lower()
    for vote in set(votes[:, torn]):
        assert f"{(votes[:, torn] == vote).sum()} say {vote}" in said


def test_pointing_at_a_curve_tells_its_values(one, visit):
    with open(one / "history.csv") as file:
        rows = list(csv.DictReader(file))
    tab = visit(one / "report.html")
    strips = tab.locator("#training-curves .strips rect")
    assert strips.count() == 2 * len(rows)  # of loss and of accuracy
    strips.nth(9).hover()
    words = tab.inner_text("#tip")
    assert words.startswith("epoch 10: ")
    assert f"{float(rows[9]['train_loss']):.4g}" in words
    assert f"validation {float(rows[9]['validation_loss']):.4g}" in words
    tab.mouse.move(5, 5)
    assert tab.locator("#tip").is_hidden()
    tab.locator("#training-curves .chart").first.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    assert tab.inner_text("#tip").startswith("epoch 3: ")
    tab.keyboard.press("Escape")
    assert tab.locator("#tip").is_hidden()


def test_a_finger_tells_values_and_draws(one, visit):
    tab = visit(one / "report.html", PHONE, has_touch=True)
    tab.locator("#training-curves .strips rect").nth(4).tap()
    assert tab.locator("#tip").is_visible()
    assert tab.inner_text("#tip").startswith("epoch 5: ")
    tab.locator("#draw").tap()
    assert tab.locator("#tip").is_hidden()
    assert not answer(tab).startswith("Nothing")


def test_toggles(one, visit):
    tab = visit(one / "report.html", color_scheme="light")
    color = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(color)
    tab.click("#theme")
    assert tab.evaluate(color) != light
    assert tab.inner_text("#theme") == "light"
    tab.click("#theme")
    assert tab.evaluate(color) == light
    cell = tab.locator(".confusion td.right").first
    count = cell.inner_text()
    tab.get_by_role("button", name="share of each label").click()
    assert cell.inner_text().endswith("%")
    tab.get_by_role("button", name="share of each label").click()
    assert cell.inner_text() == count
    tab.get_by_text("values").first.click()
    assert tab.locator(".values").first.is_visible()


def test_it_draws_with_the_keyboard(one, visit):
    tab = visit(one / "report.html")
    tab.locator("#draw").focus()
    for key in ["ArrowUp"] * 8 + [" "] + ["ArrowDown"] * 16 + [" "]:
        tab.keyboard.press(key)
    assert answer(tab) == "1"
    tab.keyboard.press("Backspace")
    assert answer(tab).startswith("Nothing")
    tab.select_option("#example", "3")
    assert not answer(tab).startswith("Nothing")


def test_units_show_their_weights(one, visit):
    tab = visit(one / "report.html")
    tab.locator("#layers canvas").first.click(position={"x": 2, "y": 2})
    assert tab.input_value("#unit") == "0"
    assert "unit 0" in tab.inner_text("#weights-words")
    assert tab.evaluate("[weights.width, weights.height]") == [8, 8]
    tab.select_option("#layer", label="output 10")
    tab.fill("#unit", "7")
    assert "unit 7 (7)" in tab.inner_text("#weights-words")


def test_no_request_can_leave_the_page(one, browser):
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/favicon.ico":  # of the first visit
                asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        tab = browser.new_page()
        tab.goto(f"{address}/seen")
        assert "/seen" in asked
        asked.clear()
        tab.goto((one / "report.html").as_uri())
        with pytest.raises(Exception, match="Failed to fetch"):
            tab.evaluate("address => fetch(address)", f"{address}/fetched")
        tab.evaluate(
            "address => document.body.append(Object.assign(new Image(), {src: address}))",
            f"{address}/image",
        )
        tab.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: "
            "'window.injected = 1'}))"
        )
        tab.wait_for_timeout(200)
        assert tab.evaluate("window.injected") is None
        assert asked == []
        tab.close()
        server.shutdown()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_accessibility(one, several, visit, scheme, size):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-core is not installed"
    ).Axe()
    for folder in (one, several):
        tab = visit(folder / "report.html", size, color_scheme=scheme)
        tab.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
        )
        found = axe.run(tab).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_print_has_no_buttons_and_is_light(one, visit):
    tab = visit(one / "report.html", color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.locator("#theme").is_hidden()
    assert tab.locator(".playground").is_hidden()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_what_comes_from_data_is_escaped(tmp_path, visit):
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    rng = np.random.default_rng(0)
    y = np.array([evil, "b"])[rng.integers(0, 2, 120)]
    x = np.where(y[:, None] == evil, 1.0, -1.0) + rng.normal(0, 1.5, (120, 3))
    np.savez(tmp_path / "evil<b>.npz", x=x, y=y)
    run_here(
        "--no-cache",
        "--dataset",
        tmp_path / "evil<b>.npz",
        "--epochs",
        2,
        "--out",
        tmp_path / "run",
    )
    tab = visit(tmp_path / "run/report.html")
    assert tab.locator("img[src=x]").count() == 0
    assert tab.locator("b", has_text="evil").count() == 0
    assert evil in tab.inner_text("main")
    assert "<script>alert" not in (tmp_path / "run/report.html").read_text()


def test_data_cannot_end_their_script():
    assert "</script><b>" not in document.document("t", "", read={"a": "</script><b>"})


def test_a_regression_has_a_page(tmp_path, visit):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype(np.float32)
    np.savez(tmp_path / "values.npz", x=x, y=x[:, 0] + 0.1 * rng.normal(size=200))
    run_here(
        "--no-cache",
        "--dataset",
        tmp_path / "values.npz",
        "--epochs",
        3,
        "--out",
        tmp_path / "values",
    )
    tab = visit(tmp_path / "values/report.html")
    assert tab.locator("#mistakes tbody tr").count() == 20
    assert tab.locator("#draw").count() == 0


def test_images_in_color_with_long_names_have_a_page_for_a_phone(tmp_path, visit):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 12, 480)
    x = np.clip(rng.normal(128, 40, (480, 8, 8, 3)) + 5 * y[:, None, None, None], 0, 255).astype(
        np.uint8
    )
    np.savez(
        tmp_path / "color.npz",
        x=x,
        y=np.array([f"a class with quite a long name, number {i}" for i in range(12)])[y],
    )
    run_here(
        "--no-cache",
        "--dataset",
        tmp_path / "color.npz",
        "--epochs",
        1,
        "--validation",
        0,
        "--out",
        tmp_path / "run",
    )
    tab = visit(tmp_path / "run/report.html", PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert tab.locator("#mistakes img").count() == 40
    assert tab.locator("#draw").count() == 0
    assert tab.locator("table.confusion").bounding_box()["height"] < 900


def test_a_network_that_diverged_says_so_and_nothing_else(tmp_path, visit):
    told = (
        "--optimizer",
        "sgd",
        "--learning-rate",
        "1e12",
        "--schedule",
        "constant",
        "--epochs",
        2,
        "--out",
        tmp_path / "run",
    )
    run_here("--no-cache", *told, script="digits")
    found = json.loads((tmp_path / "run/result.json").read_text())
    assert found["verdict"].startswith("diverged: at step")
    assert found["findings"][0]["code"] == "diverged"
    tab = visit(tmp_path / "run/report.html")
    assert "lower the learning rate" in tab.inner_text("#verdict")
    assert "wider" not in tab.inner_text("#verdict")
    assert "359 of 359 test examples are predicted wrongly" in tab.inner_text("#mistakes")
    assert "NaN" not in tab.inner_text("main")
    assert tab.locator("#draw").count() == 0


def test_a_large_image_is_shown_small():
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3))
    with Image.open(io.BytesIO(examples.picture(image, 255.0))) as shown:
        assert shown.size == (64, 64)


def test_many_values_do_not_make_the_page_large(tmp_path):
    y = np.random.default_rng(0).normal(size=20_000)
    figures.values(y, y, tmp_path / "values.png")
    assert len((tmp_path / "values.svg").read_bytes()) < 200_000


def test_figures_keep_their_names_apart(one):
    text = (one / "report.html").read_text()
    names = re.findall(r'\bid="([^"]*)"', text)
    assert len(names) == len(set(names))


def test_a_figure_without_lines_is_a_picture(one):
    assert 'src="data:image/png;base64,' in chart(one / "figures/confusion", "words")


def test_placement_finds_how_figures_lie():
    rng = np.random.default_rng(0)
    images = np.zeros((300, 20, 24))
    for image in images:
        top, left = rng.integers(2, 6), rng.integers(2, 10)
        image[top : top + 12, left : left + 3] = 255  # a line, 3 wide and 12 high
    found = placement(images, 255.0)
    assert (found.height, found.width, found.background, found.ink) == (20, 24, 0.0, 255.0)
    assert found.size == 12
    assert 2 <= found.stroke <= 3  # its ends are edges too
    on_white = placement(255 - images, 255.0)
    assert (on_white.background, on_white.ink, on_white.size) == (255.0, 0.0, 12)
    sizes = np.zeros((300, 20, 20))
    for i, image in enumerate(sizes):
        image[1 : 3 + i % 16, 4:6] = 1
    assert placement(sizes, 1.0).size is None
    assert placement(np.zeros((5, 8, 8)), 16.0).size is None


def test_placement_of_mnist_is_as_its_makers_say(mnist_folder):
    """Digits fit a box of 20 x 20 and lie with their center of mass in the middle of 28 x 28
    (LeCun, Cortes & Burges 1998).
    """
    data = jaxnet.load("mnist", data_dir=mnist_folder)
    found = placement(np.asarray(data.train.x).reshape(-1, 28, 28), data.train.pixel_max)
    assert (found.size, found.centered, found.background, found.ink) == (20, "mass", 0, 255)
    # of pixels from 0: their corner lies half a pixel before
    assert np.allclose(found.center, 14.5, atol=0.2)


def test_confident_mistakes_come_first():
    log_p = np.log(np.array([[0.9, 0.1], [0.3, 0.7], [0.55, 0.45]]))
    text = examples.wrong_classes(np.zeros((3, 2)), np.array([1, 1, 1]), log_p, ("a", "b"), None)
    assert "2 of 3 test examples" in text
    assert text.index("row 0: label <b>b</b>") < text.index("row 2: label <b>b</b>")


def test_scores_stand_on_the_page_and_a_result_without_them_is_read(one):
    found = json.loads((one / "result.json").read_text())
    shown = found["scores"]["test"]["balanced_accuracy"]["estimate"]
    page = html_of(found, one / "figures")
    assert "Other scores" in page
    assert f"{shown:.2%}" in page
    assert "error of always guessing the most frequent training class" in page
    del found["scores"]
    assert "Other scores" not in html_of(found, one / "figures")


def test_a_result_without_claims_says_what_would_help(one):
    found = json.loads((one / "result.json").read_text())
    for finding in found["findings"]:
        finding["claimed"] = False
    assert (
        f"The largest one that could be is {Code(found['findings'][0]['code']).words};"
        in html_of(found, one / "figures")
    )
    for finding in found["findings"]:
        finding["size"]["high"] = 0.01
    assert "No kind of error is shown to be above the tolerance.</p></div>" in html_of(
        found, one / "figures"
    )
    found["findings"][0]["claimed"] = True
    words = Code(found["findings"][0]["code"]).words
    assert f"To reduce {words}, the most promising first:" in html_of(found, one / "figures")
    found["findings"][0]["remedies"] = []
    assert "the recipe has every remedy already that is known here" in html_of(
        found, one / "figures"
    )


@pytest.mark.parametrize("estimate", [None, 0.3])
def test_a_page_that_measured_nothing_does_not_say_that_nothing_is_too_large(one, estimate):
    found = json.loads((one / "result.json").read_text())
    more = next(iter(found["findings"])) | {"code": "more_data_will_not_help", "claimed": True}
    steps = [each | {"claimed": False} for each in found["findings"]]
    for each in steps:
        each["size"] = {"estimate": estimate, "low": None, "high": None, "refused": "no interval"}
    measured = [more, *(each for each in steps if estimate is not None)]
    page = html_of(found | {"findings": measured}, one / "figures")
    nothing = "No kind of error was compared with the tolerance here"
    assert (nothing in page) == (estimate is None)
    assert ("is shown to be above the tolerance" in page) == (estimate is not None)
    assert ("shown to be above" in html_of(found | {"findings": []}, one / "figures")) is False
