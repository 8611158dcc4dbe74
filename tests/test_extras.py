"""`rddm restore --extras`: images and numbers that a task needs beside its input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import rddm
from rddm.cli import app
from rddm.core import images
from rddm.core.network import Network

SMALL = {"name": "nafnet", "width": 4, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}
SIZES = {"a": (12, 14), "sub/b": (9, 20), "c": (12, 14)}


def call(*words, code=0):
    result = CliRunner().invoke(app, ["restore", *map(str, words)])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


def noise(seed, size, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def saved(folder, task):
    """A model of a task whose output depends on all that it is shown."""
    trainer = rddm.build({"task": task | {"train": "a", "eval": "b"}, "sampler": "sm-res", "backbone": SMALL})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    trainer.save(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    shown = [{"role": "mask"}, {"role": "label", "channels": 2, "range": "signed"}]
    return saved(tmp_path_factory.mktemp("runs") / "shown", {"name": "paired", "shown": shown})


@pytest.fixture(scope="module")
def holes(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("runs") / "holes", {"name": "inpainting", "keep_known": True})


@pytest.fixture
def data(tmp_path):
    """Images of two sizes with a mask each, of other formats and channels."""
    for number, (name, size) in enumerate(SIZES.items()):
        images.write(tmp_path / f"in/{name}.png", noise(number, size))
        images.write(tmp_path / f"mask/{name}.bmp", noise(number + 10, size, 3 if name == "a" else 1))
    return tmp_path


def expected(run, data, name, label):
    image = images.to_tensor(images.read(data / f"in/{name}.png"))
    mask = images.to_tensor(images.as_channels(images.read(data / f"mask/{name}.bmp"), 1))
    planes = torch.tensor(label).reshape(2, 1, 1).expand(2, *image.shape[1:])
    return images.to_array(rddm.load(run, "cpu").restore(image, extras={"mask": mask, "label": planes}))


def test_extras_are_found_by_name_without_suffix_and_numbers_are_planes(run, data):
    words = [run, data / "in", "--extras", f"mask={data / 'mask'}", "--extras", "label=0.25,1", "--device", "cpu"]
    assert "3 of 3" in call(*words, "--out", data / "out").stdout
    for name in SIZES:
        assert (images.read(data / f"out/{name}.png") == expected(run, data, name, (0.25, 1.0))).all()
    call(*words, "--out", data / "other", "--extras", "label=0,0", code=2)
    words[-3] = "label=0,0"
    call(*words, "--out", data / "other")
    assert not (images.read(data / "other/a.png") == images.read(data / "out/a.png")).all()


def test_batches_and_resuming_change_no_result_with_extras(run, data):
    words = [run, data / "in", "--extras", f"mask={data / 'mask'}", "--extras", "label=0.25,1", "--device", "cpu"]
    call(*words, "--out", data / "one")
    call(*words, "--out", data / "two", "--batch", 3)
    (data / "two/a.png").unlink()
    assert "2 of them before" in call(*words, "--out", data / "two", "--batch", 3, "--resume").stdout
    for name in SIZES:
        both = [images.to_tensor(images.read(data / f"{out}/{name}.png")) for out in ("one", "two")]
        torch.testing.assert_close(*both, rtol=0, atol=1.1 / 255)


def test_one_file_serves_all_images_and_several_inputs_keep_their_folders_names(run, data):
    for name in SIZES:
        (data / "masks/in" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / f"mask/{name}.bmp").rename(data / f"masks/in/{name}.bmp")
    images.write(data / "lone.png", noise(0, (5, 5)))
    images.write(data / "masks/lone.png", noise(1, (5, 5), 1))
    words = [run, data / "in", data / "lone.png", "--extras", f"mask={data / 'masks'}", "--extras", "label=0,0"]
    assert "4 of 4" in call(*words, "--out", data / "out").stdout
    one = ["--extras", f"mask={data / 'masks/in/a.bmp'}", "--extras", "label=0,0"]
    assert "2 of 2" in call(run, data / "in/a.png", data / "in/c.png", *one, "--out", data / "same").stdout


def test_missing_masks_are_all_listed_before_anything_is_restored(run, data):
    (data / "mask/a.bmp").unlink()
    (data / "mask/sub/b.bmp").unlink()
    words = [run, data / "in", "--extras", f"mask={data / 'mask'}", "--extras", "label=0,0", "--out", data / "out"]
    said = call(*words, code=2).stderr
    assert f"mask of a: not in {data / 'mask'}" in said
    assert "mask of sub/b" in said
    assert "mask of c" not in said
    assert not (data / "out").exists()


def test_a_mask_of_another_size_fails_alone_with_both_sizes_told(run, data):
    images.write(data / "mask/c.bmp", noise(0, (14, 12), 1))
    words = [run, data / "in", "--extras", f"mask={data / 'mask'}", "--extras", "label=0,0", "--batch", 2]
    result = call(*words, "--out", data / "out", code=1)
    assert "2 of 3 images restored" in result.stdout
    assert "c.bmp is 14x12, and its image 12x14" in result.stderr
    assert sorted(path.name for path in (data / "out").rglob("*.png")) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ([], "come with mask (channels: 1), label (channels: 2): add --extras mask=FOLDER; given none"),
        (["mask=0", "label=0,0", "other=1"], "given label, mask, other"),
        (["mask=none", "label=0,0"], "mask: none is neither a file nor a folder"),
        (["mask=0", "mask=1"], "each role once; given 'mask=1'"),
        (["mask"], "must be such as mask=FOLDER"),
    ],
)
def test_other_extras_than_the_tasks_are_refused_before_anything_is_restored(extras, message, run, data):
    words = [word for extra in extras for word in ("--extras", extra)]
    assert message in call(run, data / "in", *words, "--out", data / "out", code=2).stderr
    assert not (data / "out").exists()


@pytest.mark.parametrize(("label", "given"), [("0.5", "0.5"), ("0,2", "0.0, 2.0")])
def test_numbers_are_one_for_each_channel_in_0_to_1(label, given, run, data):
    words = [run, data / "in/a.png", "--extras", "mask=0", "--extras", f"label={label}", "--out", data / "out"]
    assert f"label must be 2 numbers in [0, 1], or an image; given {given}" in call(*words, code=1).stderr


def test_masks_among_the_inputs_are_no_inputs_and_no_result_replaces_one(run, data):
    (data / "mask").rename(data / "in/mask")
    words = [run, data / "in", "--extras", f"mask={data / 'in/mask'}", "--extras", "label=0,0"]
    assert "3 of 3" in call(*words, "--out", data / "out").stdout
    images.write(data / "in/mask/a.png", noise(0, SIZES["a"], 1))
    (data / "in/mask/a.bmp").unlink()
    words = [run, data / "in/a.png", *words[2:], "--out", data / "in/mask", "--overwrite"]
    assert "would replace an extra" in call(*words, code=2).stderr
    images.write(data / "in/mask/a.bmp", noise(0, SIZES["a"], 1))
    assert "have the same name 'a'" in call(*words, code=2).stderr


def test_a_mask_cuts_the_hole_and_known_pixels_stay_bit_for_bit(holes, data):
    words = [holes, data / "in/c.png", "--extras", f"mask={data / 'mask'}"]
    call(*words, "--out", data / "out")
    image, mask = images.read(data / "in/c.png").copy(), images.read(data / "mask/c.bmp")[..., 0] > 127
    found = images.read(data / "out/c.png")
    assert (found[~mask] == image[~mask]).all()
    image[mask] = 0  # whatever the hole held
    images.write(data / "in/c.png", image)
    call(*words, "--out", data / "again")
    assert (images.read(data / "again/c.png") == found).all()
    call(*words, "--set", "task.keep_known=false", "--out", data / "state")
    assert not (images.read(data / "state/c.png")[~mask] == image[~mask]).all()
    assert "mask (channels: 1)" in call(holes, data / "in/c.png", "--out", data / "none", code=2).stderr
    call(holes, data / "in/c.png", "--set", "task.keep_known=false", "--out", data / "none")
