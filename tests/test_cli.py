"""The command line: what users type, and what they get back."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner

import rddm
from rddm.cli import app
from rddm.core import registry
from rddm.core.images import read
from rddm.core.systems.sample import samples
from rddm.testing.strategies import built_in

runner = CliRunner()

SPEC = """
task: {name: paired, train: {name: photos}, eval: {name: photos, images: [chelsea]}, degradation: rain}
sampler: {name: sm-res, steps: 1}
backbone: {name: nafnet, width: 8, enc_blocks: [1], middle_blocks: 1, dec_blocks: [1]}
training: {steps: 2, batch_size: 2, crop: 16}
"""


def call(*words, code=0):
    result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("cli")
    (root / "spec.yaml").write_text(SPEC)
    call("fit", root / "spec.yaml", "--out", root / "run")
    return root / "run"


def test_fit_prints_the_scores_of_input_and_output_and_where_the_picture_is(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    result = call("fit", tmp_path / "spec.yaml", "training.steps=1", "sampler.steps=2", "--out", tmp_path / "run")
    assert "chelsea" in result.stdout
    assert "psnr in" in result.stdout
    assert "ssim out" in result.stdout
    assert str(tmp_path / "run/samples/step_00000001.png") in result.stdout
    assert (tmp_path / "run/samples/step_00000001.png").is_file()
    assert rddm.load(tmp_path / "run")[rddm.Training].steps == 1
    assert "--resume" in call("fit", tmp_path / "spec.yaml", "--out", tmp_path / "run", code=2).stderr
    call("fit", tmp_path / "spec.yaml", "sampler.steps=2", "--out", tmp_path / "run", "--resume")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "none.yaml"], "none.yaml: no such file"),
        (["restore", "none", "x.png", "--out", "o"], "neither a file nor a folder"),
        (["eval", "none"], "none is no run"),
        (["list", "foo"], "unknown kind 'foo'"),
        (["show", "schedule", "powr"], "did you mean 'power'"),
        (["profile", "none.yaml", "--size", "big"], "must be such as 256"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*words, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_restore_keeps_names_structure_sizes_modes_and_bits(run, tmp_path):
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    photo = Image.fromarray(data.chelsea()[:37, :43])
    photo.save(source / "rgb.png")
    photo.save(source / "photo.jpg")
    photo.convert("L").save(source / "sub" / "grey.png")
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.fromarray((np.arange(37 * 43) % 256).astype(np.uint8).reshape(37, 43)))
    alpha.save(source / "alpha.png")
    deep = (np.asarray(photo.convert("L")).astype(np.uint16) * 257) ^ 3
    Image.fromarray(deep).save(source / "sub" / "deep.png")
    photo.convert("P").save(source / "palette.gif")
    Image.new("RGB", (1, 1), "red").save(source / "dot.png")
    (source / "notes.txt").write_text("no image")
    result = call("restore", run, source, "--out", tmp_path / "out")
    assert "7 of 7 images restored" in result.stdout
    made = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {"rgb.png", "photo.jpg", "alpha.png", "sub/grey.png", "sub/deep.png", "dot.png", "palette.gif.png"} == made
    assert read(tmp_path / "out/rgb.png").shape == (37, 43, 3)
    assert read(tmp_path / "out/sub/grey.png").shape == (37, 43, 1)
    restored = read(tmp_path / "out/alpha.png")
    assert restored.shape == (37, 43, 4)
    assert (restored[..., 3] == np.asarray(alpha)[..., 3]).all()
    assert read(tmp_path / "out/sub/deep.png").dtype == np.uint16
    assert read(tmp_path / "out/dot.png").shape == (1, 1, 3)


def test_restored_files_are_what_the_library_restores(run, tmp_path):
    image = data.chelsea()[:40, :50]
    Image.fromarray(image).save(tmp_path / "a.png")
    call("restore", run, tmp_path / "a.png", "--out", tmp_path / "out", "--steps", "2", "--device", "cpu")
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    want = (rddm.load(run, "cpu").restore(tensor, steps=2) * 255).round().byte().permute(1, 2, 0).numpy()
    assert (read(tmp_path / "out/a.png") == want).all()


def test_a_broken_image_is_named_the_others_are_restored_and_the_exit_code_tells(run, tmp_path):
    Image.fromarray(data.chelsea()[:20, :20]).save(tmp_path / "good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("I am no picture")
    result = call("restore", run, tmp_path, "--out", tmp_path / "out", code=1)
    assert "1 of 3 images restored" in result.stdout
    assert "empty.png" in result.stderr
    assert "text.jpg" in result.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_restore_overwrites_nothing_unasked_and_never_its_input(run, tmp_path):
    Image.fromarray(data.chelsea()[:20, :20]).save(tmp_path / "a.png")
    (tmp_path / "b").mkdir()
    Image.fromarray(data.chelsea()[:20, :20]).save(tmp_path / "b" / "a.png")
    call("restore", run, tmp_path / "a.png", "--out", tmp_path / "out")
    assert "--overwrite" in call("restore", run, tmp_path / "a.png", "--out", tmp_path / "out", code=2).stderr
    call("restore", run, tmp_path / "a.png", "--out", tmp_path / "out", "--overwrite")
    words = ["restore", run, tmp_path / "a.png", "--out", tmp_path, "--overwrite"]
    assert "would replace an input" in call(*words, code=2).stderr
    words = ["restore", run, tmp_path / "a.png", tmp_path / "b" / "a.png", "--out", tmp_path / "o"]
    assert "would both become" in call(*words, code=2).stderr
    words = ["restore", run, tmp_path / "a.png", tmp_path / "b", "--out", tmp_path / "o"]
    assert "2 of 2" in call(*words).stdout
    assert (tmp_path / "o/b/a.png").is_file()
    (tmp_path / "empty").mkdir()
    assert "empty" in call("restore", run, tmp_path / "empty", "--out", tmp_path / "p", code=2).stderr


def test_eval_measures_and_writes_json(run, tmp_path):
    result = call("eval", run, "--steps", "2", "--json", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["images"] == 1
    assert f"{scores['psnr']:.2f}" in result.stdout
    again = json.loads((run / "evaluation.json").read_text())
    assert again["input_psnr"] == pytest.approx(scores["input_psnr"])  # the degradation is always the same
    assert "coffee" in call("eval", run, "task.eval={name: photos, images: [coffee]}", "--limit", "1").stdout
    assert "not replaced" in call("eval", run, "--json", tmp_path / "scores.json", code=2).stderr
    assert "a .json file" in call("eval", run, "--json", tmp_path / "scores.yaml", code=2).stderr
    call("eval", run, "--steps", "1", "--json", tmp_path / "scores.json", "--overwrite")
    assert json.loads((tmp_path / "scores.json").read_text())["psnr"] != scores["psnr"]


def test_drawn_images_are_written_to_a_new_folder_and_replace_nothing(tmp_path):
    task = {"name": "generation", "train": "a", "eval": "b"}
    small = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
    trainer = rddm.build({"task": task, "schedule": "ddim", "sampler": "sm-n", "backbone": small})
    trainer.save(tmp_path / "run")
    (tmp_path / "new").mkdir()
    draw = ["sample", tmp_path / "run", "--count", 2, "--size", "9x11", "--steps", 1]
    call(*draw, "--out", tmp_path / "new", "--sheet", tmp_path / "sheet.png")
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == ["000000.png", "000001.png"]
    drawn = np.stack([read(tmp_path / "new" / f"{n:06d}.png") for n in range(2)])
    assert drawn.shape == (2, 9, 11, 3)
    wanted = trainer.sample(2, size=(9, 11), steps=1).permute(0, 2, 3, 1).numpy() * 255
    np.testing.assert_allclose(drawn, wanted, rtol=0, atol=0.51)
    assert read(tmp_path / "sheet.png").shape[1] > 22
    for there in ("run", "new", "sheet.png"):
        assert "replace nothing" in call(*draw, "--out", tmp_path / there, code=2).stderr
    assert "written to a .png" in call(*draw, "--out", tmp_path / "more", "--sheet", "sheet.txt", code=2).stderr
    assert "not replaced" in call(*draw, "--out", tmp_path / "more", "--sheet", tmp_path / "sheet.png", code=2).stderr
    assert not (tmp_path / "more").exists()
    rddm.load(tmp_path / "run")
    Image.fromarray(drawn[0]).save(tmp_path / "image.png")
    said = call("restore", tmp_path / "run", tmp_path / "image.png", "--out", tmp_path / "more", code=2).stderr
    assert f"draws images and restores none: use rddm sample {tmp_path / 'run'} --out DIR" in said


def test_images_are_written_batch_by_batch_as_they_are_drawn(run, tmp_path, monkeypatch):
    small = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
    spec = {"task": {"name": "generation", "train": "a", "eval": "b"}, "schedule": "ddim", "sampler": "sm-n"}
    trainer = rddm.build(spec | {"backbone": small})
    trainer.save(tmp_path / "run")
    there = []

    def watched(*args, **options):
        for drawn in samples(*args, **options | {"batch": 2}):
            there.append(len(list(tmp_path.glob(".new.*/*.png"))))
            yield drawn

    monkeypatch.setattr("rddm.core.systems.sample.samples", watched)
    monkeypatch.setattr("rddm.cli.models.SHEET", 3)
    words = ["--count", 5, "--size", 8, "--steps", 1, "--seed", 3, "--device", "cpu"]
    call("sample", tmp_path / "run", *words, "--out", tmp_path / "new", "--sheet", tmp_path / "sheet.png")
    assert there == [0, 2, 4]
    wanted = trainer.sample(5, size=8, steps=1, seed=3)
    for number, image in enumerate(wanted):
        found = read(tmp_path / f"new/{number:06d}.png")
        np.testing.assert_allclose(found, image.permute(1, 2, 0).numpy() * 255, rtol=0, atol=0.51)
    assert read(tmp_path / "sheet.png").shape[:2] == (2 * 64 + 6, 2 * 64 + 6)
    said = call("sample", run, "--out", tmp_path / "none", code=2).stderr
    assert f"turns images into others and draws none: use rddm restore {run} INPUT --out DIR" in said
    assert not (tmp_path / "none").exists()


def test_list_show_and_schema_know_the_components():
    listed = call("list").stdout
    for name in ("power", "ddim", "sm-res-n", "unet", "nafnet", "paired", "rain", "first-order", "folder"):
        assert f" {name} " in listed
    assert call("list", "schedules").stdout.count("\n") == len(registry.names("schedule"))
    assert call("list", "--check").stdout.count("  ok") == listed.count("\n")
    shown = call("show", "schedule", "power").stdout
    assert "alpha_power = 1.0" in shown
    assert "arXiv 2308.13712" in shown
    assert "power" in json.dumps(json.loads(call("schema").stdout)["$defs"]["schedule"])


def test_profile_prints_the_cost(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    printed = call("profile", tmp_path / "spec.yaml", "--size", "32x48", "--device", "cpu").stdout
    for word in ("32x48", "parameters", "MACs per step", "MACs per image", "time per image", "peak memory"):
        assert word in printed


def test_help_and_list_answer_without_torch():
    code = """
import sys
from rddm.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert not {'torch', 'timm', 'numpy', 'skimage'} & sys.modules.keys()
"""
    for words in (["--help"], ["list"], ["fit", "--help"]):
        subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)
    words = [sys.executable, "-m", "rddm", "fit", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run")]
    words += ["training.steps=100000", "training.save_every=5"]

    def newest():
        return max((int(p.name[5:]) for p in tmp_path.glob("run/checkpoints/step_*")), default=0)

    def wait_until_after(step):
        deadline = time.monotonic() + 120
        while newest() <= step:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        wait_until_after(0)
        process.kill()
    killed_at = newest()
    rddm.load(tmp_path / "run")
    with subprocess.Popen([*words, "--resume"], stderr=subprocess.PIPE, text=True) as process:
        wait_until_after(killed_at)
        process.terminate()
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume" in message


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_component_is_shown_with_all_its_parameters(kind):
    from rddm.core import kinds

    for name in built_in(kind):
        said = call("show", kind, name).stdout
        for key in registry.load(getattr(kinds, kind.capitalize()), name).model_fields:
            assert f"  {key} = " in said
