"""The page that restores photographs in the browser: what it answers, and how a user meets it."""

from __future__ import annotations

import gc
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner

import rddm
from rddm import SpecError
from rddm.cli import app
from rddm.core import images
from rddm.core.network import Network

gr = pytest.importorskip("gradio", reason="gradio is not installed")
from rddm.demo import BAR, SHOWN, page, serve  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SMALL = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
USUAL = (5, 0.0, 0, "sm-res-n")  # steps, eta, seed, sampling method


pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # event loops that gradio leaves


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()  # here, not in another test


def made(task, sampler="sm-res-n", **others):
    """A model whose output depends on all that it is shown."""
    trainer = rddm.build(
        {"task": task | {"train": "a", "eval": "b"}, "sampler": sampler, "backbone": SMALL, "training": {"crop": 16}}
        | others
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return trainer


def answers(trainer, name="restore"):
    """The function behind the button of a page; its files are there as long as it is."""
    [function] = [one.fn for one in page(trainer, "run").fns.values() if one.api_name == name]
    unfinished = []

    def answer(*values):
        unfinished.append(function(*values[:5], BAR, *values[5:]))
        return next(unfinished[-1])

    return answer


def labels(trainer):
    return [block.label for block in page(trainer, "run").blocks.values() if getattr(block, "label", None)]


def noise(channels, dtype=np.uint8, size=(21, 34)):
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


def generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_photograph_is_restored_as_by_the_library_with_grey_alpha_and_16_bits_kept(channels, suffix, tmp_path):
    trainer, array, file = made({"name": "paired"}), noise(channels, np.uint16), tmp_path / f"photo{suffix}"
    images.write(file, array)
    answer = next(iter(page(trainer, "run").fns.values())).fn(str(file), 3, 0.5, 7, "sm-res")
    (before, after), result = next(answer)
    image, rest = images.for_model(images.read(file), 3)
    wanted = trainer.restore(image, steps=3, eta=0.5, sampler="sm-res", generator=generator(7))
    assert (images.read(Path(result)) == images.from_model(wanted, rest)).all()
    assert images.read(Path(result)).dtype == np.uint16
    assert Path(result).name == "photo.png"
    assert before.size == after.size == (34, 21)
    assert (np.asarray(before) == images.to_array(images.to_tensor(images.as_channels(array, 3)))).all()
    with pytest.raises(StopIteration):
        next(answer)
    assert not Path(result).exists()


def test_pictures_on_the_page_are_reduced_and_results_are_not(tmp_path):
    images.write(tmp_path / "wide.png", noise(1, size=(4, SHOWN + 100)))
    restored = answers(made({"name": "paired", "channels": 1}))
    (before, after), result = restored(str(tmp_path / "wide.png"), *USUAL)
    assert before.width == after.width == SHOWN
    assert images.size(Path(result)) == (4, SHOWN + 100)


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        (None, USUAL, "Give a photograph first"),
        ("text.png", USUAL, "cannot read .*text.png as an image"),
        ("photo.png", (2000, 0.0, 0, "sm-res-n"), "must be an integer in 1..1000"),
        ("photo.png", (5, 2.0, 0, "sm-res-n"), r"in \[0, 1\]; given 2"),
    ],
)
def test_problems_are_told_on_the_page_in_the_words_of_the_library(file, options, message, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    images.write(tmp_path / "photo.png", noise(3))
    with pytest.raises(gr.Error, match=message):
        answers(made({"name": "paired"}))(file and str(tmp_path / file), *options)


def test_the_samplers_to_choose_from_are_those_that_the_networks_heads_allow():
    def choices(sampler):
        blocks = page(made({"name": "paired"}, sampler), "run").blocks.values()
        return [[name for name, _ in block.choices] for block in blocks if isinstance(block, gr.Dropdown)]

    [alone], [both] = choices("sm-res"), choices("sm-res-n")
    assert alone[0] == "sm-res"
    assert not {"sm-n", "sm-res-n", "sm-x0", "auto"} & set(alone)
    assert both[0] == "sm-res-n"
    assert {"sm-n", "sm-res"} < set(both)
    assert not {"sm-x0", "auto"} & set(both)


def test_the_steps_are_the_runs_own_and_those_of_a_grid_that_has_its_own(tmp_path):
    images.write(tmp_path / "photo.png", noise(3))
    trainer = made({"name": "paired"}, {"name": "sm-res", "grid": {"name": "times", "at": [1000, 500, 200, 0]}})
    [slider] = [block for block in page(trainer, "run").blocks.values() if getattr(block, "label", "") == "Steps"]
    assert slider.value == 3
    answers(trainer)(str(tmp_path / "photo.png"), 3, 0.0, 0, "sm-res")
    with pytest.raises(gr.Error, match="has 3 steps of its own"):
        answers(trainer)(str(tmp_path / "photo.png"), 4, 0.0, 0, "sm-res")


def painted(mask, scale=1):
    layer = np.zeros((*(side * scale for side in mask.shape), 4), np.uint8)
    layer[..., 3] = mask.repeat(scale, 0).repeat(scale, 1) * 255
    return {"background": layer, "layers": [layer], "composite": layer}


def test_a_mask_is_painted_at_any_scale_or_uploaded_and_must_be_there(tmp_path):
    trainer = made({"name": "paired", "shown": [{"role": "mask"}]})
    array, mask = noise(3), np.zeros((21, 34), bool)
    mask[3:9, 5:30] = True
    images.write(tmp_path / "photo.png", array)
    images.write(tmp_path / "mask.png", mask[..., None].astype(np.uint8) * 255)
    given = (str(tmp_path / "photo.png"), *USUAL)
    tensor = torch.from_numpy(mask).float()[None]
    wanted = images.to_array(trainer.restore(images.to_tensor(array), extras={"mask": tensor}))
    restored = answers(trainer)
    for beside in ((painted(mask), None), (painted(mask, 2), None), (None, str(tmp_path / "mask.png"))):
        _, file = restored(*given, *beside)
        assert (images.read(Path(file)) == wanted).all()
    for nothing in (None, painted(mask & False)):
        with pytest.raises(gr.Error, match="needs 'mask', too: paint it"):
            restored(*given, nothing, None)
    images.write(tmp_path / "mask.png", noise(1, size=(5, 5)))
    with pytest.raises(gr.Error, match="is 5x5, and its image 21x34"):
        restored(*given, None, str(tmp_path / "mask.png"))


def test_extras_of_many_channels_are_numbers_or_an_image(tmp_path):
    trainer = made({"name": "paired", "shown": [{"role": "label", "channels": 5}]})
    images.write(tmp_path / "photo.png", noise(3))
    given, restored = (str(tmp_path / "photo.png"), *USUAL), answers(trainer)
    assert "label: 5 numbers in [0, 1]" in labels(trainer)
    restored(*given, "0, 1, 0, 0.5, 0", None)
    for text, message in (("", "needs 'label', too"), ("0, 1", "must be 5 numbers"), ("a, b", "must be numbers such")):
        with pytest.raises(gr.Error, match=message):
            restored(*given, text, None)


def test_inpainting_fills_what_is_painted_and_shows_the_hole_before(tmp_path):
    array, mask = noise(3), np.zeros((21, 34), bool)
    mask[:7] = True
    images.write(tmp_path / "photo.png", array)
    for keep in (True, False):
        trainer = made({"name": "inpainting", "keep_known": keep})
        given, restored = (str(tmp_path / "photo.png"), *USUAL), answers(trainer)
        (before, after), _ = restored(*given, painted(mask), None)
        assert (np.asarray(before)[mask] == 128).all()
        assert (np.asarray(before)[~mask] == array[~mask]).all()
        assert (np.asarray(after)[~mask] == array[~mask]).all() == keep
    restored(*given, None, None)  # an image that has its hole already


def test_runs_of_generation_draw_the_images_that_the_library_draws():
    trainer = made({"name": "generation"}, "sm-n", schedule="ddim")
    drawn = answers(trainer, "draw")
    assert len(drawn(2, 1, 0.0, None, "sm-n")) == 2  # an emptied field
    files = drawn(3, 2, 0.0, 5, "sm-n")
    wanted = trainer.sample(3, steps=2, seed=5)
    assert [Path(file).name for file in files] == ["5-000000.png", "5-000001.png", "5-000002.png"]
    for file, image in zip(files, wanted):
        assert (images.read(Path(file)) == images.to_array(image)).all()


def test_runs_of_other_dimensions_have_no_page():
    trainer = made({"name": "paired", "ndim": 1}, backbone={"name": "nafnet", "ndim": 1})
    with pytest.raises(SpecError, match="of 2 dimensions; this run has 1"):
        page(trainer, "run")


def test_without_gradio_the_command_says_what_to_install(tmp_path, monkeypatch):
    made({"name": "paired"}).save(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "rddm.demo")
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "pip install 'residual-diffusion[demo]'" in result.stderr


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SpecError, match=rf"--port: .*{port}.*; give another"):
            serve(made({"name": "paired"}), "run", port=port)


@pytest.mark.parametrize("words", [[], ["--open", "--host", "0.0.0.0", "--port", "8000", "--share"]])
def test_the_page_is_for_this_machine_alone_and_no_browser_opens_unless_asked(words, tmp_path, monkeypatch):
    made({"name": "paired"}).save(tmp_path / "model")
    asked, opened, closed = [], [], []

    def served(trainer, title, **options):
        asked.append((title, options))
        return SimpleNamespace(close=lambda: closed.append(True)), "http://there/"

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("rddm.demo.serve", served)
    monkeypatch.setattr("rddm.cli.demo.Event", lambda: SimpleNamespace(wait=interrupted))
    monkeypatch.setattr("webbrowser.open", opened.append)
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "model"), *words])
    assert result.exit_code == 130
    assert result.stdout.startswith("http://there/")
    usual, open_to_all = (
        {"host": h, "port": p, "share": s} for h, p, s in (("127.0.0.1", None, False), ("0.0.0.0", 8000, True))
    )
    assert asked == [("model", open_to_all if words else usual)]
    assert opened == (["http://there/"] if words else [])
    assert closed == [True]


# ---------------------------------------------------------------------------------------- in a process of its own
@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where `rddm demo` serves a model that fills holes and keeps the rest, and the model."""
    folder = tmp_path_factory.mktemp("demo") / "model"
    trainer = made({"name": "inpainting", "keep_known": True})
    trainer.save(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "rddm", "demo", str(folder), "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line == f"http://127.0.0.1:{port}/  (Ctrl-C stops)\n"
        yield line.split()[0], trainer
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_client_of_the_served_page_gets_what_the_library_restores(address, tmp_path):
    from gradio_client import Client, handle_file

    url, trainer = address
    image, mask = noise(3, np.uint16), noise(1)
    images.write(tmp_path / "photo.png", image)
    images.write(tmp_path / "mask.png", mask)
    client = Client(url, verbose=False)
    both = handle_file(tmp_path / "photo.png"), handle_file(tmp_path / "mask.png")
    pair, result = client.predict(both[0], 3, 0.5, 7, "sm-res", None, both[1], api_name="/restore")
    hole = (images.to_tensor(mask) > 0.5).float()
    holed = torch.where(hole > 0, 0.5, images.to_tensor(image))
    options = {"steps": 3, "eta": 0.5, "sampler": "sm-res", "generator": generator(7)}
    wanted = images.to_array(trainer.restore(holed, extras={"mask": hole}, **options), np.uint16)
    found = images.read(Path(result))
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2)  # another process
    assert [images.size(Path(one)) for one in pair] == [(21, 34)] * 2
    job, told = client.submit(both[0], 100, 0, 7, "sm-res", None, both[1], api_name="/restore"), set()
    while not job.done():
        told |= {(one.index, one.length, one.desc) for one in job.status().progress_data or ()}
        time.sleep(0.01)
    assert any(0 < index < length == 100 and desc == "restore" for index, length, desc in told), told
    client.close()


@pytest.fixture
def tab(address):
    """The page in a browser; whatever it complains about, or asks of another machine, fails the test."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium), so the page is not tried in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    complaints = []
    with sync_api.sync_playwright() as playwright:
        # without the sandbox, which needs rights that root in a container lacks
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.on("console", lambda message: complaints.extend([message.text] if message.type == "error" else []))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.extend([] if address[0] in request.url else [request.url]))
        tab.goto(address[0])
        yield tab
        browser.close()
    assert [complaint for complaint in complaints if not re.match("data:|blob:", complaint)] == []


@pytest.mark.slow
def test_a_user_gives_a_photograph_paints_a_hole_and_sees_it_filled(tab, tmp_path):
    photo = data.chelsea()
    Image.fromarray(photo).save(tmp_path / "chelsea.png")
    tab.set_input_files("input[type=file] >> nth=0", tmp_path / "chelsea.png")
    canvas = tab.locator("canvas").first
    canvas.wait_for()
    tab.wait_for_load_state("networkidle")
    for _ in range(30):  # until the canvas takes a stroke
        tab.wait_for_timeout(500)
        box = canvas.bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tab.mouse.move(*middle)
        tab.mouse.down()
        tab.mouse.move(middle[0] + 30, middle[1], steps=6)
        tab.mouse.up()
        if tab.get_by_role("button", name="Undo").is_enabled():
            break
    tab.get_by_role("button", name="Restore").click()
    tab.wait_for_function("[...document.images].filter(image => image.naturalWidth == 451).length >= 2")
    with tab.expect_download() as download:
        tab.locator("a[download='chelsea.png']").last.click()
    changed = (images.read(Path(download.value.path())) != photo).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 100 < changed.sum() < 0.1 * changed.size
    assert abs(rows.mean() - 150) < 30
    assert 205 < columns.min() + 15 < columns.max() < 345
