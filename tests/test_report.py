"""The comparison page: what it holds, and how it behaves in a browser."""

from __future__ import annotations

import json
import math
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import rddm
from rddm.cli import app
from rddm.core import images, metrics
from rddm.core.errors import DataError
from rddm.core.kinds import usual_metrics
from rddm.report.columns import check, folder
from rddm.report.curves import HEIGHT, WIDTH, charts
from rddm.report.difference import difference, table

GOLDEN = [[0, 0, 0], [70, 41, 129], [201, 68, 146], [255, 156, 81], [255, 251, 195]]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def command(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def data(page):
    text = (page / "data.js").read_text()
    return json.loads(text.removeprefix("window.rddmReport = ").removesuffix(";\n"))


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folders(tmp_path):
    """Two methods of three images, of which the second lacks one; and their inputs and targets."""
    rng = np.random.default_rng(0)
    for name in ("a", "deep/b#1 50%é", "c"):
        target = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        for place, role in enumerate(("target", "input", "one", "two")):
            noisy = np.clip(target + rng.normal(0, 20 * place, target.shape), 0, 255).astype(np.uint8)
            if (name, role) != ("c", "two"):
                put(tmp_path / role / f"{name}.{'jpg' if role == 'input' else 'png'}", noisy)
    return tmp_path


def compare(folders, *more):
    ends = ("--input", folders / "input", "--target", folders / "target", "--out", folders / "page")
    return command(f"First={folders / 'one'}", folders / "two", *ends, *more)


def test_columns_are_matched_by_name_without_suffix_and_missing_images_are_listed(folders):
    done = compare(folders)
    assert done.exit_code == 0, done.output
    assert "c: missing in two" in done.output
    page = data(folders / "page")
    assert [(pane["name"], pane["role"]) for pane in page["panes"]] == [
        ("input", "input"),
        ("First", "method"),
        ("two", "method"),
        ("target", "target"),
    ]
    assert [row["name"] for row in page["rows"]] == ["a", "c", "deep/b#1 50%é"]
    assert [cell is None for cell in page["rows"][1]["cells"]] == [False, False, True, False]
    assert "c: missing in two" in (folders / "page/index.html").read_text()


def test_figures_are_those_of_the_metrics_and_means_count_what_is_there(folders):
    compare(folders)
    page = data(folders / "page")
    pair = [images.to_tensor(images.read(folders / role / "a.png")) for role in ("one", "target")]
    assert page["rows"][0]["cells"][1]["scores"] == metrics.measure(usual_metrics(), *pair)
    assert page["rows"][0]["cells"][3]["scores"] == {}
    two = [row["cells"][2]["scores"]["psnr"] for row in page["rows"] if row["cells"][2]]
    assert len(two) == page["panes"][2]["mean"]["images"] == 2
    assert page["panes"][2]["mean"]["psnr"] == pytest.approx(sum(two) / 2, rel=1e-12)


def test_every_address_on_the_page_is_a_file_beside_it_and_png_and_jpeg_are_copied_bit_for_bit(folders):
    compare(folders)
    from urllib.parse import unquote

    root = folders / "page"
    page = data(root)
    cells = [cell for row in page["rows"] for cell in row["cells"] if cell]
    addresses = [cell[key] for cell in cells for key in ("src", "difference") if key in cell]
    addresses += [row["thumb"] for row in page["rows"]]
    assert len(addresses) == 11 + 8 + 3
    assert all((root / unquote(address)).is_file() for address in addresses)
    for place, role in ((0, "input/a.jpg"), (1, "one/a.png")):
        copied = root / unquote(page["rows"][0]["cells"][place]["src"])
        assert copied.read_bytes() == (folders / role).read_bytes()
    html = (root / "index.html").read_text()
    linked = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {"data.js", "assets/page.js", "assets/panzoom.min.js", "assets/img-comparison-slider.js"} < set(linked)
    assert all((root / link).is_file() for link in linked if link != "data:,")
    for library, holder in (("panzoom", "Timmy Willison"), ("img-comparison-slider", "Dmitry Snisarenko")):
        assert holder in (root / f"assets/{library}.LICENSE.txt").read_text()


def test_what_browsers_do_not_show_becomes_png_without_loss(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (8, 8, 1), dtype=np.uint16)
    images.write(tmp_path / "deep/x.tiff", array)
    assert command(tmp_path / "deep", "--out", tmp_path / "page").exit_code == 0
    assert (images.read(tmp_path / "page/images/0-deep/x.png") == array).all()


def test_text_from_names_is_escaped(folders):
    assert compare(folders, "--title", "<script>alert(1)</script>").exit_code == 0
    html = (folders / "page/index.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_images_of_another_size_than_the_target_are_shown_and_not_compared(folders):
    put(folders / "two/a.png", np.zeros((5, 6, 3), np.uint8))
    assert "a: two is 6 x 5, the target 32 x 24; not compared" in compare(folders).output
    cell = data(folders / "page")["rows"][0]["cells"][2]
    assert cell["scores"] == {}
    assert "difference" not in cell


def test_equal_images_have_infinite_psnr_on_the_page(folders):
    put(folders / "one/a.png", images.read(folders / "target/a.png"))
    compare(folders)
    assert data(folders / "page")["rows"][0]["cells"][1]["scores"]["psnr"] == math.inf


def test_an_unreadable_image_is_told_and_the_others_are_shown(folders):
    (folders / "one/a.png").write_bytes(b"no image")
    assert "cannot read" in compare(folders).output
    assert data(folders / "page")["rows"][0]["cells"][1] is None


def test_nothing_is_overwritten_but_pages_when_asked(folders):
    compare(folders)
    done = compare(folders)
    assert done.exit_code == 2
    assert "add --overwrite" in done.output
    assert compare(folders, "--overwrite").exit_code == 0
    (folders / "page/mine.txt").write_text("")
    assert "mine.txt" in compare(folders, "--overwrite").output
    shutil.rmtree(folders / "page")
    put(folders / "page/images/holiday.png", np.zeros((4, 4, 3), np.uint8))
    (folders / "page/index.html").write_text("my site")
    assert "no page of rddm" in compare(folders, "--overwrite").output
    assert (folders / "page/index.html").read_text() == "my site"


def test_a_limit_takes_the_first_images(folders):
    compare(folders, "--limit", 2)
    assert [row["name"] for row in data(folders / "page")["rows"]] == ["a", "c"]


def test_columns_that_cannot_be_told_apart_or_matched_are_refused(tmp_path):
    grey = np.zeros((4, 4), np.uint8)
    put(tmp_path / "one/a.png", grey)
    put(tmp_path / "other/a_out.png", grey)
    one, other = (folder(tmp_path / name, "method") for name in ("one", "other"))
    with pytest.raises(DataError, match="a_out here, a there"):
        check([other, one])
    with pytest.raises(DataError, match="two columns are called 'one'"):
        check([one, one])
    put(tmp_path / "one/a.jpg", grey)
    with pytest.raises(DataError, match="same name 'a'"):
        folder(tmp_path / "one", "method")
    with pytest.raises(DataError, match="is no folder"):
        folder(tmp_path / "none", "method")


def test_colours_run_from_black_to_pale_with_even_lightness():
    from skimage.color import rgb2lab

    assert table().shape == (256, 3)
    assert table()[[0, 64, 128, 191, 255]].tolist() == GOLDEN
    lightness = rgb2lab(table()[None] / 255)[0, :, 0]
    assert np.diff(lightness).min() > -0.5
    assert np.abs(lightness - np.linspace(0, 98, 256)).max() < 2


def test_the_difference_is_the_mean_over_channels_against_the_scale():
    image, target = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    image[0, 0], image[0, 1], target[0, 2] = 0, (30, 60, 6), 255
    picture = difference(image, target, scale=64)
    assert np.asarray(picture).tolist() == [[0, 128, 255]]  # 32 of 64 is half; beyond 64 is the end
    assert (np.asarray(picture.convert("RGB"))[0] == table()[[0, 128, 255]]).all()


def test_charts_put_the_largest_value_on_top_and_the_last_step_at_the_right():
    log = [{"step": 50, "loss": 1.0}, {"step": 100, "loss": 0.0, "eval_input_psnr": 3.0}, {"step": 100, "eval_psnr": 9}]
    [chart] = charts({"run": log})
    assert (chart.key, chart.low, chart.high, chart.steps, chart.logarithmic) == ("loss", 0, 1, 100, False)
    assert chart.lines == {"run": f"{WIDTH / 2:.1f},0.0 {WIDTH:.1f},{HEIGHT:.1f}"}
    [chart] = charts({"run": [{"step": k, "loss": 10.0 ** -(k - 1)} for k in (1, 2, 3)]})
    assert chart.logarithmic
    assert chart.lines["run"].split()[1] == f"{WIDTH * 2 / 3:.1f},{HEIGHT / 2:.1f}"  # geometric mean in the middle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in "ab":
            for role in ("input", "target"):
                put(root / part / role / f"{name}.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    spec = {
        "task": {"name": "paired", "train": str(root / "train"), "eval": str(root / "test")},
        "schedule": {"name": "power"},
        "sampler": {"name": "sm-res", "steps": 2},
        "backbone": {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
        "training": {"steps": 2, "batch_size": 1, "crop": 16, "log_every": 1, "eval_every": 1},
    }
    rddm.build(spec).fit(root / "run", progress=False)
    return root / "run"


def test_a_run_brings_its_outputs_inputs_and_targets(run, tmp_path):
    done = command(f"Ours={run}", "--out", tmp_path / "page", "--limit", 1, "--device", "cpu")
    assert done.exit_code == 0, done.output
    page = data(tmp_path / "page")
    assert [pane["name"] for pane in page["panes"]] == ["input", "Ours", "target"]
    assert [row["name"] for row in page["rows"]] == ["a"]
    expected = rddm.load(run, "cpu").evaluate(limit=1)["per_image"]["a"]
    assert page["rows"][0]["cells"][1]["scores"]["psnr"] == pytest.approx(expected["psnr"], abs=1e-9)
    assert page["rows"][0]["cells"][0]["scores"]["ssim"] == pytest.approx(expected["input_ssim"], abs=1e-9)


def test_runs_with_other_evaluation_images_are_not_compared(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    spec = (other / "spec.yaml").read_text()
    (other / "spec.yaml").write_text(spec.replace(str(run.parent / "test"), str(run.parent / "train")))
    done = command(run, other, "--out", tmp_path / "page", "--device", "cpu")
    assert done.exit_code == 2
    assert "have another input each for 'a'" in done.output


def test_a_gallery_shows_the_samples_of_every_step_and_the_curves(run, tmp_path):
    done = command(run, "--gallery", "--out", tmp_path / "page")
    assert done.exit_code == 0, done.output
    page = data(tmp_path / "page")
    assert [row["name"] for row in page["rows"]] == ["step 00000001", "step 00000002"]
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line["eval_psnr"] for line in logged if line["step"] == 2 and "eval_psnr" in line]
    assert [page["rows"][1]["cells"][0]["scores"]["psnr"]] == last
    html = (tmp_path / "page/index.html").read_text()
    assert html.count("<polyline") >= 2
    assert "<figcaption>loss" in html
    assert command(run.parent / "test", "--gallery", "--out", tmp_path / "none").exit_code == 2
    assert "takes no --input" in command(run, "--gallery", "--input", run, "--out", tmp_path / "none").output


def test_a_file_in_the_way_stays(folders):
    (folders / "page").write_text("")
    assert "choose another name" in compare(folders, "--overwrite").output
    assert (folders / "page").is_file()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A page of 300 small images and two methods, of which the first is better for even numbers."""
    root = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    for n in range(300):
        target = rng.integers(60, 196, (30, 40, 3), dtype=np.uint8)
        for role, spread in {"target": 0, "one": 1 + n % 2 * 30, "two": 1 + n // 10, "input": 40}.items():
            put(root / f"{role}/{n:03}.png", (target + rng.integers(-spread, spread + 1, (30, 40, 3))).astype(np.uint8))
    ends = ("--input", root / "input", "--target", root / "target", "--out", root / "page")
    assert command(root / "one", root / "two", *ends).exit_code == 0
    return root / "page"


@pytest.fixture
def browse(large):
    """Opens the page at a size; whatever the browser complains about fails the test."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium), so the page is not tried in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    complaints = []
    with sync_api.sync_playwright() as playwright:
        # without the sandbox, which needs rights that root in a container lacks; offline, as the page promises
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def open_page(width=1280, height=800, **options):
            context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
            tab = context.new_page()
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("requestfailed", lambda request: complaints.append(request.url))
            tab.on(
                "request", lambda request: complaints.extend([] if request.url.startswith("file:") else [request.url])
            )
            tab.goto((large / "index.html").as_uri())
            tab.wait_for_function("document.querySelector('.pane img').naturalWidth > 0")
            return tab

        yield open_page
        browser.close()
    assert [complaint for complaint in complaints if not complaint.startswith("data:")] == []


def transforms(tab, panes=".pane"):
    tab.wait_for_timeout(100)  # two animation frames, in which Panzoom writes them
    return tab.eval_on_selector_all(f"{panes} img", "images => images.map(image => image.style.transform)")


def shown(tab):
    return tab.inner_text("#name")


def figures(tab, column):
    return [
        float(text)
        for text in tab.eval_on_selector_all(".item", f"rows => rows.map(row => row.children[{column}].textContent)")
    ]


@pytest.mark.slow
def test_panes_stay_in_step_when_zoomed_by_wheel_key_and_drag(browse):
    tab = browse()
    seen = [transforms(tab)]
    tab.mouse.move(200, 250)
    tab.mouse.wheel(0, -300)
    seen.append(transforms(tab))
    for key in ("+", "+", "-"):
        tab.keyboard.press(key)
        seen.append(transforms(tab))
    tab.mouse.down()
    tab.mouse.move(160, 230, steps=4)
    tab.mouse.up()
    seen.append(transforms(tab))
    assert all(len(panes) == 4 and len(set(panes)) == 1 for panes in seen)
    assert len({panes[0] for panes in seen}) == 6 - 1  # + and - undo each other, all else differs
    tab.mouse.move(600, 600)  # another pane leads now
    tab.mouse.wheel(0, -300)
    assert len(set(transforms(tab))) == 1
    assert transforms(tab)[0] != seen[-1][0]
    tab.keyboard.press("0")
    assert transforms(tab) == seen[0]
    tab.keyboard.press("1")
    assert tab.inner_text("#zoom") == "100 %"


@pytest.mark.slow
def test_the_wheel_keeps_the_point_under_the_cursor_where_it_is(browse):
    tab = browse()
    box = tab.locator(".pane .view").first.bounding_box()
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4
    place = """(image, [x, y]) => {
        const box = image.getBoundingClientRect();
        return [(x - box.x) / box.width, (y - box.y) / box.height];
    }"""
    before = tab.eval_on_selector(".pane img", place, [x, y])
    tab.mouse.move(x, y)
    for _ in range(4):
        tab.mouse.wheel(0, -100)
        transforms(tab)
    assert tab.eval_on_selector(".pane img", place, [x, y]) == pytest.approx(before, abs=0.01)


@pytest.mark.slow
def test_keys_step_compare_slide_and_filter(browse):
    tab = browse()
    assert shown(tab) == "000"
    for key, name in (("ArrowRight", "001"), ("ArrowRight", "002"), ("ArrowLeft", "001")):
        tab.keyboard.press(key)
        assert shown(tab) == name
    source = "images => images.map(image => image.getAttribute('src'))"
    plain = tab.eval_on_selector_all(".pane img", source)
    assert not tab.is_visible("#bar")
    tab.keyboard.press("d")
    apart = tab.eval_on_selector_all(".pane img", source)
    assert apart == [*(f"images/difference-{n}/001.png" for n in range(3)), plain[3]]
    assert tab.is_visible("#bar")
    tab.keyboard.press("d")
    assert tab.eval_on_selector_all(".pane img", source) == plain

    tab.keyboard.press("+")
    tab.keyboard.press("s")
    assert tab.is_visible("img-comparison-slider")
    assert not tab.is_visible(".pane >> nth=0")
    assert tab.eval_on_selector_all(".compare img", source) == plain[:2]
    assert len(set(transforms(tab, ".compare"))) == 1
    assert "scale(1.25)" in transforms(tab, ".compare")[0]
    box = tab.locator(".compare [slot=handle]").bounding_box()
    tab.mouse.move(box["x"] + 15, box["y"] + 15)
    tab.mouse.down()
    tab.mouse.move(box["x"] - 185, box["y"] + 15, steps=4)
    tab.mouse.up()
    moved = tab.eval_on_selector("img-comparison-slider", "slider => slider.value")
    assert 5 < moved < 45
    tab.keyboard.press("Shift+ArrowRight")
    assert tab.eval_on_selector("img-comparison-slider", "slider => slider.value") == pytest.approx(moved + 5)
    assert "scale(1.25)" in transforms(tab, ".compare")[0]  # the handle moved the slider and nothing else
    tab.keyboard.press("s")

    tab.keyboard.press("/")
    tab.keyboard.type("29 ")
    assert tab.inner_text("#position") == "1 / 13"  # 029, 129, 229 and 290 .. 299
    assert shown(tab) == "029"
    tab.keyboard.press("Escape")
    tab.keyboard.press("ArrowRight")
    assert shown(tab) == "129"
    tab.fill("#filter", "psnr<25")
    worst = [min(pair) for pair in zip(figures(tab, 3), figures(tab, 4))]
    assert 0 < len(worst) < 300
    assert max(worst) < 25
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    assert tab.is_visible("#info")


@pytest.mark.slow
def test_a_column_head_sorts_by_its_figure_and_again_the_other_way(browse):
    tab = browse()
    tab.click("[data-sort='1']")
    up = figures(tab, 3)
    assert up == sorted(up)
    assert len(up) == 300
    tab.click("[data-sort='1']")
    assert figures(tab, 3) == sorted(up, reverse=True)
    tab.click("[data-sort='2']")
    assert figures(tab, 4) == sorted(figures(tab, 4))
    assert int(tab.inner_text("#position").split()[0]) > 290  # 000 stays on the stage, one of the second's ten best
    tab.select_option("#figure", "ssim")
    assert figures(tab, 4) == sorted(figures(tab, 4))
    assert max(figures(tab, 4)) <= 1


@pytest.mark.slow
def test_three_hundred_images_load_when_they_come_into_sight(browse):
    tab = browse()
    loaded = "rows => rows.filter(row => row.querySelector('img').naturalWidth).length"
    tab.wait_for_timeout(300)
    assert tab.locator(".item").count() == 300
    assert 10 < tab.eval_on_selector_all(".item", loaded) < 150
    for share in range(11):
        tab.eval_on_selector("#list", f"list => list.scrollTop = list.scrollHeight * {share} / 10")
        tab.wait_for_timeout(150)
    tab.wait_for_function(f"({loaded})([...document.querySelectorAll('.item')]) === 300", timeout=5000)
    tab.locator(".item").last.click()
    assert shown(tab) == "299"
    tab.wait_for_function("[...document.querySelectorAll('.pane img')].every(image => image.naturalWidth === 40)")


@pytest.mark.slow
def test_a_phone_shows_all_panes_without_sideways_scrolling(browse):
    tab = browse(390, 844, has_touch=True, is_mobile=True, device_scale_factor=2)
    for key in ("", "d", "s", "?"):
        if key:
            tab.keyboard.press(key)
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
    tab.keyboard.press("Escape")
    tab.keyboard.press("s")
    boxes = [tab.locator(".pane .view").nth(n).bounding_box() for n in range(4)]
    assert all(box["width"] > 150 and box["height"] > 100 and box["x"] + box["width"] <= 390 for box in boxes)
    tab.tap("#in")
    assert len(set(transforms(tab))) == 1
    assert "scale(1.25)" in transforms(tab)[0]
