"""Restoring in tiles: predictions are averaged at every step, memory is bounded, folders go on where they stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

import rddm
from rddm import OutputError, SpecError
from rddm.cli import app
from rddm.core.images import read, size
from rddm.core.kinds import Backbone
from rddm.core.network import Network
from rddm.core.systems import restore_files as files
from rddm.core.systems.tiles import predict
from rddm.samplers.sm_res_n import SMResN

TIMES = {"res_noise": torch.zeros(1, 1)}


class Local(nn.Module):
    """A convolution, and its means over cells of side x side pixels, which sit at multiples of the side."""

    def __init__(self, in_chans: int, out_chans: int, dims: int, side: int, radius: int) -> None:
        super().__init__()
        self.conv = getattr(nn, f"Conv{dims}d")(in_chans, out_chans, 2 * radius + 1, padding=radius)
        self.pool, self.side, self.shapes = getattr(F, f"avg_pool{dims}d"), side, []

    def forward(self, x, time):
        self.shapes.append(tuple(x.shape))
        y = self.conv(x)
        return (
            y
            + F.interpolate(self.pool(y, self.side), scale_factor=self.side)
            + 1e-3 * time[:, 0, *[None] * (x.ndim - 1)]
        )


class LocalBackbone(Backbone):
    """Builds them."""

    name: Literal["local"] = "local"
    dims: int = 2
    side: int = 1
    radius: int = 1

    @property
    def multiple(self) -> int:
        return self.side

    def build(self, in_chans, out_chans, times):
        return Local(in_chans, out_chans, self.dims, self.side, self.radius)


def network_of(seed=0, channels=1, **options):
    torch.manual_seed(seed)
    return Network(LocalBackbone(**options), SMResN(nets=1), channels, 0)


def trainer_of(backbone, **sampler):
    task = {"name": "paired", "train": "a", "eval": "b"}
    spec = rddm.Spec(task=task, sampler=SMResN(**{"nets": 1, "steps": 3} | sampler), backbone=backbone)
    return rddm.build(spec)


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def shapes(network):
    return network.nets["res_noise"].shapes


@given(st.data())
@torch.inference_mode()
def test_what_sees_no_further_than_a_quarter_of_the_overlap_predicts_the_same_in_tiles(data):
    dims, side = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2, 4]))
    extent = data.draw(st.tuples(*[st.integers(1, (400, 90, 30)[dims - 1])] * dims))
    overlap = 4 * side * data.draw(st.integers(1, 2))
    tile = 2 * overlap + data.draw(st.integers(0, 20))
    network = network_of(data.draw(st.integers(0, 9)), dims=dims, side=side)
    seen = noise(2, 1, *extent)
    whole = network(seen, TIMES)
    shapes(network).clear()
    tiled = predict(network, seen, TIMES, network.heads, tile, overlap)
    assert list(tiled) == list(whole) == ["res", "noise"]
    for head in whole:
        torch.testing.assert_close(tiled[head], whole[head], atol=1e-6, rtol=1e-6)
    assert len(set(shapes(network))) == 1
    rounded = -(-tile // side) * side
    assert shapes(network)[0][2:] == tuple(min(rounded, -(-n // side) * side) for n in extent)


@given(st.data())
@torch.inference_mode()
def test_the_weights_of_all_tiles_sum_to_one_at_every_pixel(data):
    tile = data.draw(st.integers(1, 40))
    overlap = data.draw(st.integers(0, tile // 2) | st.none()) if tile > 1 else None
    network = network_of(dims=1, radius=0)
    seen = noise(1, 1, data.draw(st.integers(1, 200)))
    tiled = predict(network, seen, TIMES, ["res"], tile, overlap)
    torch.testing.assert_close(tiled["res"], network(seen, TIMES, ["res"])["res"], atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_without_an_overlap_the_borders_of_tiles_show_and_with_one_they_do_not():
    network, seen = network_of(radius=4), noise(1, 1, 90, 90)
    whole = network(seen, TIMES, ["res"])["res"]
    off = [(predict(network, seen, TIMES, ["res"], 32, o)["res"] - whole).abs().max().item() for o in (0, 8, 16)]
    assert off[0] > 0.1
    assert off[0] > off[1] > 1e-3
    assert off[2] < 1e-6


def test_a_whole_restoration_in_tiles_is_that_of_the_whole_image():
    trainer = trainer_of(LocalBackbone(side=2))
    image = noise(2, 3, 35, 61)
    for options in ({}, {"eta": 1.0}, {"sampler": {"solver": "heun"}}, {"sampler": "sm-res"}):
        whole = trainer.restore(image, **options)
        torch.testing.assert_close(trainer.restore(image, tile=24, overlap=8, **options), whole, atol=2e-6, rtol=0)
    seen = shapes(trainer[Network])
    assert {shape[2:] for shape in seen} == {(36, 62), (24, 24)}


def test_predictions_are_averaged_at_every_step_not_only_outputs():
    trainer, image = trainer_of("nafnet"), noise(3, 48, 80)
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    halves = torch.cat([trainer.restore(image[..., :40]), trainer.restore(image[..., 40:])], dim=-1)
    assert (trainer.restore(image, tile=40, overlap=0) - halves).abs().max() > 1e-3  # the noise is that of the image
    whole, tiled = trainer.restore(image), trainer.restore(image, tile=(0, 48), overlap=16)
    assert not torch.equal(whole, tiled)
    assert torch.equal(tiled, trainer.restore(image, tile=(0, 48), overlap=16))


def test_a_tiled_image_is_restored_the_same_alone_and_in_any_batch():
    trainer, batch = trainer_of(LocalBackbone()), noise(3, 3, 40, 50)
    together = trainer.restore(batch, tile=16, overlap=4, eta=1.0)
    alone = [trainer.restore(image, tile=16, overlap=4, eta=1.0) for image in batch]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-6, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("extent", "tile", "first", "count"),
    [
        ((1024, 1024), None, (1024, 1024), 1),
        ((1024, 1025), None, (512, 512), 9),
        ((1024, 1025), 0, (1024, 1025), 1),
        ((300, 4000), None, (300, 512), 9),
        ((2**20 + 1,), None, (2**18,), 5),
        ((64, 64), 32, (32, 32), 9),
        ((64, 64), (0, 32), (64, 32), 3),
    ],
)
def test_images_above_a_megapixel_are_tiled_unless_told_otherwise(extent, tile, first, count):
    network = network_of(dims=len(extent), radius=0)
    predict(network, torch.zeros(1, 1, *extent), TIMES, ["res"], tile, 16 if tile else None)
    assert [shape[2:] for shape in shapes(network)] == [first] * count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": -1}, "tile: must be a number of pixels, or 2 of them, 0 for no tiles; given -1"),
        ({"tile": (8,)}, r"tile: must .* given \(8,\)"),
        ({"tile": 8.0}, "tile: must .* given 8.0"),
        ({"tile": 32, "overlap": 17}, r"overlap: must be in 0\.\.16 for tiles of 32 pixels; given 17"),
        ({"tile": 32, "overlap": -1}, "overlap: must .* given -1"),
        ({"tile": 10, "overlap": 7}, r"overlap: must be in 0\.\.6 for tiles of 12 pixels; given 7"),
    ],
)
def test_tiles_and_overlaps_that_cannot_be_are_refused_with_what_was_given(options, message):
    with pytest.raises(SpecError, match=message):
        trainer_of(LocalBackbone(side=4 if options["tile"] == 10 else 1)).restore(noise(3, 8, 8), **options)


# Folders


SPEC = """
task: {name: paired, train: {name: photos}, eval: {name: photos, images: [chelsea]}, degradation: rain}
sampler: {name: sm-res, steps: 1}
backbone: {name: nafnet, width: 8, enc_blocks: [1], middle_blocks: 1, dec_blocks: [1]}
"""


def call(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model whose output layer is not zero, as a folder."""
    root = tmp_path_factory.mktemp("tiles")
    (root / "spec.yaml").write_text(SPEC)
    trainer = rddm.build(root / "spec.yaml")
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    trainer.save(root / "model")
    return root / "model"


@pytest.fixture
def photos(tmp_path):
    """Five images of two sizes, grey and RGB."""
    (tmp_path / "in").mkdir()
    for number in range(5):
        photo = Image.fromarray(data.chelsea()[9 * number :][: 30 + number % 2, :40])
        (photo.convert("L") if number == 2 else photo).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


def test_images_of_equal_size_go_together_and_the_results_are_the_same(run, photos, tmp_path, monkeypatch):
    call("restore", run, photos, "--out", tmp_path / "alone", "--device", "cpu")
    given, restore = [], files.restore
    monkeypatch.setattr(files, "restore", lambda e, x, **options: given.append(x.shape) or restore(e, x, **options))
    (photos / "bad.png").write_text("no image")
    result = call("restore", run, photos, "--out", tmp_path / "both", "--batch", 2, "--device", "cpu", code=1)
    assert "5 of 6 images restored" in result.stdout
    assert sorted(given) == [(1, 3, 30, 40), (2, 3, 30, 40), (2, 3, 31, 40)]
    for number in range(5):
        one, other = (read(tmp_path / folder / f"{number}.png").astype(int) for folder in ("alone", "both"))
        assert one.shape == other.shape
        assert abs(one - other).max() <= 1  # the last digit may fall on the other side
        assert (one != other).mean() < 1e-3


def test_a_stopped_folder_tells_how_to_go_on_and_goes_on_where_it_stopped(run, photos, tmp_path, monkeypatch):
    out, restore, calls = tmp_path / "out", files.restore, []

    def stops(entity, image, **options):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return restore(entity, image, **options)

    monkeypatch.setattr(files, "restore", stops)
    result = call("restore", run, photos, "--out", out, code=130)
    assert "stopped: 2 of 5 images restored; the same command with --resume goes on" in result.stderr
    assert sorted(file.name for file in out.iterdir()) == ["0.png", "1.png"]
    before = (out / "0.png").stat().st_mtime_ns
    assert "--resume" in call("restore", run, photos, "--out", out, code=2).stderr
    assert "give one of them" in call("restore", run, photos, "--out", out, "--resume", "--overwrite", code=2).stderr
    result = call("restore", run, photos, "--out", out, "--resume")
    assert "5 of 5 images restored to" in result.stdout
    assert "2 of them before" in result.stdout
    assert (out / "0.png").stat().st_mtime_ns == before
    assert len(calls) == 6
    call("restore", run, photos, "--out", tmp_path / "whole")
    assert all((read(out / f"{n}.png") == read(tmp_path / "whole" / f"{n}.png")).all() for n in range(5))
    assert "5 of them before" in call("restore", run, photos, "--out", out, "--resume").stdout
    assert len(calls) == 11


def test_results_inside_the_folder_of_inputs_are_no_inputs_when_it_goes_on(run, photos):
    call("restore", run, photos, "--out", photos / "out")
    assert "5 of 5 images restored" in call("restore", run, photos, "--out", photos / "out", "--resume").stdout
    with pytest.raises(OutputError, match="would replace an input"):
        files.plan([photos], photos, resume=True)


def test_no_result_takes_the_place_of_another_input(photos):
    shutil.copytree(photos, photos / photos.name)
    with pytest.raises(OutputError, match=r"0.png, the result of .*, would replace an input"):
        files.plan([photos], photos.parent, overwrite=True)


def test_the_command_tiles_as_the_library_does(run, tmp_path):
    photo = data.chelsea()[:70, :90]
    Image.fromarray(photo).save(tmp_path / "a.png")
    words = ["restore", run, tmp_path / "a.png", "--device", "cpu"]
    call(*words, "--out", tmp_path / "tiled", "--tile", 32, "--overlap", 8)
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255
    want = rddm.load(run, "cpu").restore(tensor, tile=32, overlap=8)
    assert (read(tmp_path / "tiled/a.png") == (want * 255).round().byte().permute(1, 2, 0).numpy()).all()
    call(*words, "--out", tmp_path / "whole", "--tile", 0)
    assert (read(tmp_path / "whole/a.png") != read(tmp_path / "tiled/a.png")).any()
    assert (
        "overlap: must be in 0..16"
        in call(*words, "--out", tmp_path / "o", "--tile", 32, "--overlap", 20, code=2).stderr
    )


MEASURE = """
import json, resource, sys, time
from typer.testing import CliRunner
from rddm.cli import app
result = CliRunner().invoke(app, sys.argv[1:])
assert result.exit_code == 0, result.output
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)))
"""


@pytest.mark.slow
def test_a_photograph_of_3840_x_2160_is_restored_in_less_than_3_gigabytes(tmp_path):
    task = {"name": "paired", "train": "a", "eval": "b"}
    rddm.build({"task": task, "sampler": {"name": "sm-res-n", "steps": 2}}).save(tmp_path / "model")
    photo = Image.fromarray(np.tile(data.astronaut(), (1, 2, 1))).resize((3840, 2160))
    photo.save(tmp_path / "a.png")
    words = ["restore", "model", "a.png", "--out", "out", "--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert size(tmp_path / "out/a.png") == (2160, 3840)
    assert json.loads(done.stdout) < 3e9
