"""Signals, images and volumes: everything that does not depend on the number of dimensions, in each of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.std_conv import StdConv2d
from torch.nn import functional as F

import rddm
from rddm import DataError, ShapeError, SpecError
from rddm.backbones._dims import STD_CONV, fold, unfold
from rddm.cli import app
from rddm.core import images
from rddm.core.draws import seeded
from rddm.core.kinds import Backbone, Source, Task
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.systems.trajectory import trajectory

SMALL = {
    "nafnet": {"name": "nafnet", "width": 8, "middle_blocks": 1},
    "unet": {"name": "unet", "width": 8, "multipliers": (1, 2)},
}
SIZES = {1: (24,), 2: (16, 12), 3: (8, 12, 16)}
dims = pytest.mark.parametrize("ndim", [1, 2, 3])
networks = pytest.mark.parametrize("name", SMALL)


def waves(count, ndim, seed=0):
    """Clean and noisy arrays (N, *S, 2) in [0, 1]."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(0, 1, side) for side in SIZES[ndim]), indexing="ij")
    phase = generator.uniform(0, 6, (count, *[1] * ndim, 2))
    clean = 0.5 + 0.4 * np.sin(6 * sum(axes)[None, ..., None] + phase)
    noisy = np.clip(clean + generator.normal(0, 0.1, clean.shape), 0, 1)
    return clean.astype(np.float32), noisy.astype(np.float32)


@pytest.fixture(params=[1, 3])
def spec(request, tmp_path):
    """A small restorer of signals, and one of volumes."""
    return restorer(request.param, tmp_path)


@pytest.fixture
def signals(tmp_path):
    return restorer(1, tmp_path)


def restorer(ndim, tmp_path):
    clean, noisy = waves(6, ndim)
    np.savez(tmp_path / "pairs.npz", target=clean, input=noisy)
    source = {"name": "arrays", "path": str(tmp_path / "pairs.npz"), "ndim": ndim}
    return {
        "task": {"name": "paired", "ndim": ndim, "channels": 2, "train": source, "eval": source},
        "backbone": {**SMALL["nafnet"], "ndim": ndim},
        "training": {"steps": 2, "batch_size": 2, "crop": 8},
    }


# ------------------------------------------------------------------------------------------- networks
@dims
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_unfold_undoes_fold(ndim, side, channels, cells):
    x = torch.rand(2, channels, *(side * (cells + k) for k in range(ndim)))
    folded = fold(x, side)
    assert folded.shape == (2, channels * side**ndim, *(cells + k for k in range(ndim)))
    assert torch.equal(unfold(folded, side), x)


def test_signals_are_folded_as_images_of_one_column_are():
    x = torch.rand(2, 3, 12)
    wide = F.pixel_unshuffle(x[..., None].expand(-1, -1, -1, 2), 2)  # channel c, row i, column j
    assert torch.equal(fold(x, 2), wide[:, ::2, :, 0])


def test_standardised_convolutions_are_timm_s_in_two_dimensions():
    torch.manual_seed(0)
    ours, theirs = STD_CONV[2](3, 4, 3, padding=1), StdConv2d(3, 4, 3, bias=True, eps=1e-5)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@networks
@dims
def test_a_network_takes_any_size_that_is_a_multiple_and_leaves_it(name, ndim):
    recipe = resolve(Backbone, {**SMALL[name], "ndim": ndim})
    torch.manual_seed(0)
    net = recipe.build(3, 2, 1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(2, 3, *((k + 2) * recipe.multiple for k in range(ndim)))
    y = net(x, torch.tensor([[3.0], [500.0]]))
    assert y.shape == (2, 2, *x.shape[2:])
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    torch.testing.assert_close(net(x[1:], torch.tensor([[500.0]])), y[1:], rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------------- training, sampling
def test_signals_and_volumes_are_trained_restored_saved_and_loaded(spec, tmp_path):
    trainer = rddm.build(spec)
    scores = trainer.fit(tmp_path / "run", progress=False)
    assert scores["images"] == 6
    assert {"psnr", "input_psnr"} <= set(scores)
    assert "ssim" not in scores  # of images only
    for one, (name, seen) in zip(trainer.results(), scores["per_image"].items(), strict=True):
        assert (one.name, dict(one.scores)) == (name, pytest.approx(seen, rel=1e-4))
    assert (tmp_path / "run" / "samples" / "step_00000002.png").stat().st_size > 0
    size = (9, 10, 11)[: spec["task"]["ndim"]]
    pair = torch.rand(2, 2, *size)
    restored = trainer.restore(pair)
    assert restored.shape == pair.shape
    assert torch.equal(trainer.restore(pair[1]), trainer.restore(pair[1:])[0])
    torch.testing.assert_close(trainer.restore(pair[1]), restored[1], rtol=1e-4, atol=1e-5)
    assert torch.equal(rddm.load(tmp_path / "run").restore(pair), restored)
    assert trainer.profile(size, runs=1).macs > 0


def test_with_an_oracle_every_size_of_every_dimension_ends_at_the_clean_image(spec):
    # a network that is right about the residual of a constant pair
    trainer = rddm.build(spec | {"sampler": "sm-res"})
    x_in = torch.full((1, 2, *(7, 9, 5)[: spec["task"]["ndim"]]), 0.25)

    def truth(x, times, heads=None):
        return {"res": torch.full_like(x[:, :2], 0.75)}

    trainer[Network].forward = truth
    *_, last = trajectory(trainer, x_in)
    torch.testing.assert_close(last.x, torch.full_like(x_in, -0.5))


def test_long_signals_are_restored_in_tiles(signals):
    trainer = rddm.build(signals)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainer[Network].parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.02)
    signal = torch.rand(2, 500)
    torch.testing.assert_close(trainer.restore(signal, tile=128), trainer.restore(signal), rtol=0, atol=0.02)


def test_signals_are_drawn_from_noise(tmp_path):
    np.save(tmp_path / "signals.npy", waves(4, 1)[0])
    source = {"name": "arrays", "path": str(tmp_path / "signals.npy"), "ndim": 1}
    task = {"name": "generation", "ndim": 1, "channels": 2, "train": source, "eval": source}
    training = {"steps": 1, "batch_size": 2, "crop": 16}
    spec = {"task": task, "backbone": {**SMALL["nafnet"], "ndim": 1}, "training": training, "sampler": "sm-n"}
    trainer = rddm.build(spec)
    assert "swd" in trainer.fit(tmp_path / "run", progress=False)
    assert trainer.sample(3).shape == (3, 2, 16)
    assert trainer.sample(1, size=40).shape == (1, 2, 40)
    with pytest.raises(ShapeError, match=r"images are \(N, 2, L\)"):
        trainer.sample(1, size=(4, 4))


# ---------------------------------------------------------------------------------------------- files
@pytest.mark.parametrize("ndim", [1, 3])
def test_folders_of_npy_files_of_any_length_are_trained_on_evaluated_and_restored(ndim, tmp_path, capsys):
    clean, noisy = waves(4, ndim)
    for role, arrays in (("target", clean), ("input", noisy)):
        (tmp_path / "pairs" / role).mkdir(parents=True)
        for n, array in enumerate(arrays):
            np.save(tmp_path / f"pairs/{role}/{n}.npy", array[n:])  # each of another length
    source = {"name": "folder", "path": str(tmp_path / "pairs"), "ndim": ndim}
    assert resolve(Source, source).open().sizes()[1] == (SIZES[ndim][0] - 1, *SIZES[ndim][1:])
    table = restorer(ndim, tmp_path)
    table["task"] |= {"train": source, "eval": source}
    table["training"]["crop"] = 4
    trainer, run = rddm.build(table), str(tmp_path / "run")
    trainer.fit(run, progress=False)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        app(["restore", run, str(tmp_path / "pairs/input"), "--out", str(out), "--batch", "2", "--device", "cpu"])
    assert ended.value.code == 0
    for result in trainer.results():
        made = np.load(out / f"{result.name}.npy")
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, result.output.movedim(0, -1), atol=2e-5)
    scores = tmp_path / "scores.json"
    words = ["--targets", str(tmp_path / "pairs/target"), "--ndim", str(ndim), "--json", str(scores)]
    with pytest.raises(SystemExit) as ended:
        app(["eval", str(out), *words])
    assert ended.value.code == 0
    assert json.loads(scores.read_text())["psnr"] == pytest.approx(trainer.evaluate()["psnr"], rel=1e-5)
    np.save(tmp_path / "deep.npy", (noisy[0] * 65535).astype(np.uint16))
    np.save(tmp_path / "other.npy", noisy[0][..., :1])
    np.save(tmp_path / "flat.npy", noisy[0].reshape(-1, 1, 1, 1, 1))
    words = [str(tmp_path / f"{name}.npy") for name in ("deep", "other", "flat")]
    with pytest.raises(SystemExit) as ended:
        app(["restore", run, *words, "--out", str(out / "more"), "--device", "cpu"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "other.npy: has 1 channels, and the model is of 2" in said
    assert f"flat.npy as a {images.named(ndim)}: an array of shape" in said
    assert np.load(out / "more/deep.npy").dtype == np.uint16


@pytest.mark.parametrize("ndim", [1, 3])
def test_what_is_drawn_is_written_as_npy_files(ndim, tmp_path):
    table = restorer(ndim, tmp_path)
    source = table["task"]["train"]
    table |= {"task": {**table["task"], "name": "generation", "train": source, "eval": source}, "sampler": "sm-n"}
    rddm.build(table).save(tmp_path / "run")
    words = ["--out", str(tmp_path / "drawn"), "--count", "2", "--size", "12", "--sheet", str(tmp_path / "a.png")]
    with pytest.raises(SystemExit) as ended:
        app(["sample", str(tmp_path / "run"), *words, "--device", "cpu", "--steps", "2"])
    assert ended.value.code == 0
    drawn = [np.load(file) for file in sorted((tmp_path / "drawn").glob("*.npy"))]
    assert [(one.shape, one.dtype) for one in drawn] == [((12,) * ndim + (2,), np.float32)] * 2


# ---------------------------------------------------------------------------------------------- refusals
def test_networks_and_crops_must_have_the_dimensions_of_the_task(spec):
    ndim = spec["task"]["ndim"]
    with pytest.raises(SpecError, match=rf"backbone\.ndim: must be task\.ndim, {ndim}, .*; given 2"):
        rddm.build(spec | {"backbone": "nafnet"})
    with pytest.raises(SpecError, match=rf"training\.crop: must be one side, or {ndim} of them.*given \[8, 8\]"):
        rddm.build(spec | {"training": {"crop": (8, 8)}})
    with pytest.raises(ShapeError, match=r"must be \(B, 2, (L|D, H, W)\) or \(2, (L|D, H, W)\); given \(2, 4, 4\)"):
        rddm.build(spec).restore(torch.rand(2, 4, 4))


def test_commands_for_images_say_so_and_costs_are_of_the_size_in_all_dimensions(spec, tmp_path, capsys):
    trainer, run = rddm.build(spec), str(tmp_path / "run")
    trainer.save(run)
    ndim = spec["task"]["ndim"]
    for words in (["report", run, "--out", str(tmp_path / "page")], ["plot", "trajectory", run, "--out", run + ".png"]):
        with pytest.raises(SystemExit):
            app(words)
        told = capsys.readouterr().err
        assert "images" in told
        assert "Traceback" not in told
    with pytest.raises(SystemExit) as ended:
        app(["profile", run, "--size", "8"])
    assert ended.value.code == 0
    assert f"image            {'x'.join(['8'] * ndim)} on cpu" in capsys.readouterr().out


def test_a_source_of_images_is_refused_for_signals(spec, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 16, 16, 2), np.uint8))
    images = {"name": "arrays", "path": str(tmp_path / "images.npy")}
    trainer = rddm.build(spec | {"task": {**spec["task"], "name": "generation", "train": images}, "sampler": "sm-n"})
    with pytest.raises(DataError, match=r"task\.ndim says (signals|volumes), .* examples of size \(16, 16\)"):
        trainer.fit(tmp_path / "run", progress=False)


def test_arrays_say_which_axes_they_have(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.uint8))
    path = str(tmp_path / "a.npy")
    as_images, as_signals = (resolve(Source, {"name": "arrays", "path": path, "ndim": n}).open() for n in (2, 1))
    assert as_images[0]["target"].shape == (5, 6, 1)
    assert as_signals[0]["target"].shape == (5, 6)
    assert (as_images.sizes()[0], as_signals.sizes()[0]) == ((5, 6), (5,))
    with pytest.raises(DataError, match=r"must be \(N, D, H, W\[, C\]\).*given uint8 \(4, 5, 6\), with ndim=3"):
        resolve(Source, {"name": "arrays", "path": path, "ndim": 3}).open()


# ------------------------------------------------------------------------------------------ augmentation
@pytest.mark.parametrize(("augment", "share"), [("none", 0.0), ("flip", 0.5), ("dihedral", 0.5)])
def test_signals_are_cut_and_mirrored_alike_with_probability_one_half(signals, augment, share):
    task = resolve(Task, {**signals["task"], "augment": augment})
    ramp = np.linspace(0, 1, 24, dtype=np.float32)[:, None].repeat(2, 1)
    record = {"target": ramp, "input": 1 - ramp}
    mirrored = 0
    for seed in range(200):
        example = task.example(record, (8,), seeded(seed))
        torch.testing.assert_close(example["input"], 1 - example["target"])
        mirrored += bool(example["target"][0, 0] > example["target"][0, -1])
    assert mirrored / 200 == pytest.approx(share, abs=0.12)


def test_signals_are_not_mirrored_by_default_and_images_are(signals):
    assert rddm.build(signals)[Task].augment == "none"
    assert resolve(Task, {"name": "paired", "train": "a", "eval": "b"}).augment == "flip"


def test_signals_without_channels_stay_so_and_others_keep_them(tmp_path):
    table = restorer(1, tmp_path)
    table["task"]["channels"] = 1
    table["task"]["train"] = table["task"]["eval"] = {"name": "folder", "path": str(tmp_path / "pairs"), "ndim": 1}
    for role in ("input", "target"):
        (tmp_path / "pairs" / role).mkdir(parents=True)
        np.save(tmp_path / "pairs" / role / "flat.npy", np.linspace(0, 1, 30))
        np.save(tmp_path / "pairs" / role / "deep.npy", np.linspace(0, 1, 30)[:, None])
    rddm.build(table).save(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        app(["restore", str(tmp_path / "run"), str(tmp_path / "pairs/input"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    assert np.load(tmp_path / "out/flat.npy").shape == (30,)
    assert np.load(tmp_path / "out/deep.npy").shape == (30, 1)


def test_metrics_of_images_alone_are_refused_for_signals(signals, tmp_path):
    with pytest.raises(SpecError, match=r"no figure of an image \(2, 24\) by ssim; choose others"):
        rddm.build(signals | {"task": {**signals["task"], "metrics": ["ssim"]}}).fit(tmp_path / "run")
