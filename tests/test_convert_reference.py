"""Published checkpoints: every layout becomes a run that computes what the published implementation did.

Golden numbers come from running that implementation (of arXiv 2308.13712) in float32, on the checkpoints that are made
here by formula.
"""

from __future__ import annotations

from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

import rddm
from rddm.cli import app
from rddm.convert.reference import convert
from rddm.core.errors import CheckpointError, OutputError, SpecError
from rddm.core.kinds import Sampler, Schedule, Task
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.process import Path as ProcessPath
from rddm.core.spec import Spec

BUFFERS = ["alphas", "alphas_cumsum", "one_minus_alphas_cumsum", "betas2", "betas", "betas2_cumsum", "betas_cumsum"]
BUFFERS += [
    f"posterior_{name}" for name in ("mean_coef1", "mean_coef2", "mean_coef3", "variance", "log_variance_clipped")
]
State = dict[str, Tensor]


def shapes(
    width: int, multipliers: tuple[int, ...], channels: int, conditions: int, decoders: int = 1
) -> dict[str, Any]:
    """Names and shapes of the published U-Net's parameters."""
    found: dict[str, tuple[int, ...]] = {}
    embed, chans = 4 * width, [width, *(width * m for m in multipliers)]

    def layer(name: str, *shape: int) -> None:
        found.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    def block(name: str, ins: int, outs: int) -> None:
        layer(f"{name}.mlp.1", 2 * outs, embed)
        for k, size in ((1, ins), (2, outs)):
            layer(f"{name}.block{k}.proj", outs, size, 3, 3)
            layer(f"{name}.block{k}.norm", outs)
        if ins != outs:
            layer(f"{name}.res_conv", outs, ins, 1, 1)

    def attention(name: str, size: int, linear: bool = True) -> None:
        found[f"{name}.fn.fn.to_qkv.weight"] = (384, size, 1, 1)
        layer(f"{name}.fn.fn.to_out.0" if linear else f"{name}.fn.fn.to_out", size, 128, 1, 1)
        if linear:
            found[f"{name}.fn.fn.to_out.1.g"] = (1, size, 1, 1)
        found[f"{name}.fn.norm.g"] = (1, size, 1, 1)

    layer("init_conv", width, channels * (1 + conditions), 7, 7)
    layer("time_mlp.1", embed, width)
    layer("time_mlp.3", embed, embed)
    last = len(multipliers) - 1
    for i, (ins, outs) in enumerate(pairwise(chans)):
        block(f"downs.{i}.0", ins, ins)
        block(f"downs.{i}.1", ins, ins)
        attention(f"downs.{i}.2", ins)
        layer(f"downs.{i}.3", outs, ins, *((3, 3) if i == last else (4, 4)))
    block("mid_block1", chans[-1], chans[-1])
    attention("mid_attn", chans[-1], linear=False)
    block("mid_block2", chans[-1], chans[-1])
    for ups, ending, skips in [("ups_no_skip", "_1", 0), ("ups", "_2", 1)] if decoders == 2 else [("ups", "", 1)]:
        for i, (outs, ins) in enumerate(zip(chans[-2::-1], chans[:0:-1], strict=True)):
            block(f"{ups}.{i}.0", ins + skips * outs, ins)
            block(f"{ups}.{i}.1", ins + skips * outs, ins)
            attention(f"{ups}.{i}.2", ins)
            layer(f"{ups}.{i}.3" if i == last else f"{ups}.{i}.3.1", outs, ins, 3, 3)
        block(f"final_res_block{ending}", (1 + skips) * width, width)
        layer(f"final_conv{ending}", channels, width, 1, 1)
    return found


def waves(named: dict[str, Any], prefix: str = "", phase: float = 0.0) -> State:
    """Weights by a formula: 0.3 sin(k / 3 + j + phase), k the index in parameter j of sorted names; norms plus 1."""
    state = {}
    for j, (name, shape) in enumerate(sorted(named.items())):
        numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        scale = name.endswith((".g", ".norm.weight"))
        state[prefix + name] = (0.3 * torch.sin(numbers / 3 + j + phase) + scale).reshape(shape).float()
    return state


TINY = (8, (1, 2), 3)


def tiny(nets: int = 2, conditions: int = 1, decoders: int = 1) -> State:
    """Weights of `model`: two networks, one, or one with a shared encoder."""
    named = shapes(*TINY, conditions, decoders)
    if decoders == 2:
        return waves(named)
    return {k: v for n in range(nets) for k, v in waves(named, f"unet{n}.", phase=float(n)).items()}


def buffers(schedule: dict[str, Any]) -> State:
    path = resolve(Schedule, schedule).path()
    tables = dict.fromkeys(BUFFERS, torch.zeros(path.T))
    return tables | {"alphas_cumsum": path.B[1:].float(), "betas2_cumsum": (path.C[1:] ** 2).float()}


RESTORES = {"name": "power", "grid": "cells", "beta_T2": 0.01}


def checkpoint(weights: State, schedule: dict[str, Any] = RESTORES) -> dict[str, Any]:
    """What the published training saves; the last weights are not the averaged ones."""
    model = {f"model.{key}": value for key, value in weights.items()} | buffers(schedule)
    average = {f"ema_model.{key}": value for key, value in model.items()}
    online = {f"online_model.{key}": value + 1 for key, value in model.items()}
    return {
        "step": 100000,
        "model": {key: value + 1 for key, value in model.items()},
        "opt0": {"state": {}, "param_groups": []},
        "opt1": {"state": {}, "param_groups": []},
        "ema": average | online | {"initted": torch.tensor([True]), "step": torch.tensor([9])},
        "scaler": None,
    }


@pytest.fixture
def converted(tmp_path: Path):
    def make(saved: object, *overrides: str) -> rddm.Trainer:
        torch.save(saved, tmp_path / "model-100.pt")
        convert(tmp_path / "model-100.pt", tmp_path / "run", overrides, overwrite=True)
        return rddm.load(tmp_path / "run", device="cpu")

    return make


X = torch.sin(0.7 * torch.arange(6 * 8 * 12, dtype=torch.float64)).reshape(1, 6, 8, 12).float()
#: Pixel (5, 7) of each network on X, told the published index 617.
FIRST, SECOND = [-1.530354, 0.720065, -0.630162], [-1.373583, 0.943849, -1.336967]
SHARED = {"res": [0.511220, -0.795903, 0.024645], "noise": [-0.071905, 0.284603, -0.669468]}


def pixels(trainer: rddm.Trainer, *times: float) -> dict[str, Any]:
    """Each head's pixel (5, 7) on X; t = 618 is the published index 617, which counts from 0."""
    network = trainer[Network]
    told = {key: torch.tensor([times or (618.0,)]) for key in network.clocks}
    with torch.no_grad():
        return {head: pytest.approx(y[0, :, 5, 7].tolist(), abs=5e-5) for head, y in network(X, told).items()}


LAYOUTS = {
    "averaged": lambda saved: saved,
    "last weights alone": lambda saved: {"step": 1, "model": prefixed(saved["ema"], "")},
    "of several processes": lambda saved: {"step": 1, "model": prefixed(saved["ema"], "module.")},
    "state dict": lambda saved: prefixed(saved["ema"], ""),
    "networks alone": lambda saved: {
        key.removeprefix("model."): value for key, value in prefixed(saved["ema"], "").items() if "model." in key
    },
}


def prefixed(ema: State, prefix: str) -> State:
    averaged = {key: value for key, value in ema.items() if key.startswith("ema_model.")}
    return {prefix + key.removeprefix("ema_model."): value for key, value in averaged.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_networks_of_every_layout_compute_what_they_did_there_one_time_on(layout, converted):
    trainer = converted(LAYOUTS[layout](checkpoint(tiny())))
    assert pixels(trainer) == {"res": FIRST, "noise": SECOND}


@pytest.mark.parametrize(("overrides", "head"), [((), "res"), (("sampler.name=sm-n",), "noise")])
def test_one_network_computes_what_it_did_there_as_whichever_head_is_said(overrides, head, converted):
    assert pixels(converted(checkpoint(tiny(nets=1)), *overrides)) == {head: FIRST}


def test_a_shared_encoder_computes_what_it_did_there(converted):
    assert pixels(converted(checkpoint(tiny(decoders=2)))) == SHARED


def test_networks_that_are_told_the_path_read_their_own_time_as_it_is(converted):
    two = converted(checkpoint(tiny()), "sampler.clock=path")
    assert pixels(two, 617.0) == {"res": FIRST, "noise": SECOND}
    noise = converted(checkpoint(tiny(nets=1)), "sampler.clock=path", "sampler.name=sm-n")
    assert pixels(noise, 31.0, 617.0) == {"noise": FIRST}
    res = converted(checkpoint(tiny(nets=1)), "sampler.clock=path")
    assert pixels(res, 617.0, 31.0) == {"res": FIRST}


GENERATES = {"name": "power", "grid": "linspace", "beta_T2": 1.0}
SAMPLES = [  # weights, schedule, overrides, pixel (5, 7), and the start of row 2 in the first channel
    (tiny(), RESTORES, [], [1.0, 0.24377, 0.36147], [0.87775, 0.94547, 0.89078, 0.75034]),
    (
        tiny(decoders=2),
        {"name": "power"},
        [],
        [0.48207, 0.0, 0.41721],
        [0.81469, 1.0, 1.0, 0.47698],
    ),
    (
        tiny(nets=1),
        {"name": "power"},
        ["sampler.steps=2"],
        [1.0, 0.30542, 0.37219],
        [0.89466, 0.89608, 0.84814, 0.78309],
    ),
    (tiny(conditions=0), {"name": "ddim"}, [], [0.19748, 0.15687, 0.23794], [0.69433, 1.0, 1.0, 0.49753]),
    (tiny(conditions=0), GENERATES, [], [0.26434, 0.11352, 0.25097], [0.65210, 1.0, 1.0, 0.49775]),
]


@pytest.mark.parametrize(("weights", "schedule", "overrides", "pixel", "row"), SAMPLES)
def test_samples_are_the_published_ones_when_the_residual_is_clipped(
    weights, schedule, overrides, pixel, row, converted
):
    trainer = converted(checkpoint(weights, schedule), "sampler.clip=residual", *overrides)
    k = torch.arange(3 * 8 * 12, dtype=torch.float64).reshape(3, 8, 12)
    image, noise = ((1 + torch.sin(0.11 * k)) / 2).float(), (1.4 * torch.sin(1.3 * k)).float()
    restored = trainer.restore(image if trainer[Task].conditions else torch.full_like(image, 0.5), noise=noise)
    assert restored[:, 5, 7].tolist() == pytest.approx(pixel, abs=5e-5)
    assert restored[0, 2, :4].tolist() == pytest.approx(row, abs=5e-5)


@settings(max_examples=25, deadline=None)
@given(
    width=st.sampled_from([8, 16]),
    multipliers=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    channels=st.integers(1, 4),
    conditions=st.integers(0, 1),
    networks=st.sampled_from([(1, 1), (2, 1), (1, 2)]),
)
def test_width_multipliers_networks_decoders_and_channels_follow_from_shapes_alone(
    width, multipliers, channels, conditions, networks, tmp_path_factory
):
    nets, decoders = networks
    named = shapes(width, multipliers, channels, conditions, decoders)
    prefixes = [""] if decoders == 2 else [f"unet{n}." for n in range(nets)]
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.save({prefix + key: torch.zeros(shape) for prefix in prefixes for key, shape in named.items()}, folder / "w")
    report = convert(folder / "w", folder / "run")
    spec = report.spec
    backbone = {"name": "unet", "width": width, "multipliers": multipliers, "decoders": decoders, "ndim": 2}
    assert spec.backbone.model_dump() == backbone
    assert (spec.task.channels, spec.task.conditions) == (channels, channels * conditions)
    assert (spec.sampler.nets, len(spec.sampler.heads)) == (nets, nets * decoders)
    assert rddm.load(folder / "run", device="cpu")[Spec] == spec
    assert sorted(there for there, _ in report.mapped) == sorted(prefix + key for prefix in prefixes for key in named)


@pytest.mark.parametrize(
    ("schedule", "clock"),
    [
        ({"name": "power", "grid": "cells", "beta_T2": 0.01}, "index"),
        ({"name": "power", "grid": "linspace"}, "index"),
        ({"name": "power", "T": 200, "alpha": "mean", "beta2": "mean"}, "index"),
        ({"name": "power", "alpha": "increasing", "beta2": "decreasing", "grid": "linspace"}, "index"),
        ({"name": "ddim"}, "path"),
        ({"name": "ddim", "T": 500, "betas": "squared-cosine"}, "path"),
    ],
)
def test_the_schedule_is_found_again_from_the_saved_tables(schedule, clock, converted):
    trainer = converted(checkpoint(tiny(conditions=0), schedule))
    assert trainer[Schedule] == resolve(Schedule, schedule)
    assert trainer[Sampler].clock == clock


def test_tables_of_no_named_schedule_are_kept_as_they_are(converted):
    schedule = {"name": "power", "alpha_power": 0.3, "beta2_power": 1.5, "T": 100}
    found, truth = converted(checkpoint(tiny(), schedule))[ProcessPath], resolve(Schedule, schedule).path()
    torch.testing.assert_close(found.B, truth.B, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.C, truth.C, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("share", "name"), [(0.52, "sm-res"), (0.47, "sm-n")])
def test_automatic_objective_selection_says_what_is_predicted(share, name, converted):
    saved = checkpoint(tiny(nets=1))
    saved["ema"]["ema_model.alpha_res"] = torch.tensor([share])
    assert converted(saved)[Sampler].name == name


def report(tmp_path: Path, saved: object, *overrides: str) -> Any:
    torch.save(saved, tmp_path / "w.pt")
    return convert(tmp_path / "w.pt", tmp_path / "run", overrides)


def test_the_report_names_what_is_mapped_ignored_and_assumed(tmp_path):
    found = report(tmp_path, checkpoint(tiny()))
    assert ("unet0.downs.1.2.fn.fn.to_out.1.g", "nets.res.down.1.attention.out_norm.weight") in found.mapped
    assert ("unet1.final_conv.bias", "nets.noise.decoders.0.head.bias") in found.mapped
    assert {*BUFFERS, "model", "opt0", "opt1", "scaler", "step", "ema.online_model"} <= set(found.ignored)
    assert "w.pt -> " in str(found)
    assert all(line in str(found) for line in (*found.ignored, *found.assumed))
    assert "sampler.clip=residual" in str(found)


def test_the_command_line_converts_a_checkpoint_that_then_restores(tmp_path):
    torch.save(checkpoint(tiny()), tmp_path / "w.pt")
    words = ["convert", "reference", str(tmp_path / "w.pt"), "--out", str(tmp_path / "run"), "sampler.clip=residual"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "unet0" in done.output or "weights" in done.output
    trainer = rddm.load(tmp_path / "run")
    assert trainer[Sampler].clip == "residual"
    assert trainer.restore(torch.rand(3, 9, 11)).isfinite().all()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "--overwrite" in again.output + again.stderr


def test_what_an_override_says_is_not_assumed(tmp_path):
    weights = {f"model.{key}": value for key, value in tiny().items()}
    said = {"sampler.clip": "residual", "sampler.clock": "index", "schedule.beta_T2": "0.01", "task.eval": "data/b"}
    found = report(tmp_path, {"model": weights}, *(f"{key}={value}" for key, value in said.items()))
    assert not any("clip" in line or "clock" in line or "beta_T2" in line for line in found.assumed)
    assert [line for line in found.assumed if "data" in line] == [
        "the folder data/train to train on; say task.train=FOLDER"
    ]
    assert found.spec.schedule.beta_T2 == 0.01


def without(state: State, key: str) -> State:
    return {name: value for name, value in state.items() if name != key}


BROKEN = {
    "another layout": ({"weights": {}, "step": 3}, "has the keys step, weights; expected what the published training"),
    "a list": ([torch.zeros(3)], "holds a list; expected"),
    "objects": ({"model": Namespace()}, r"holds objects \(argparse.Namespace\); only tensors and numbers are read"),
    "three networks": (tiny() | waves({"init_conv.weight": (8, 6, 7, 7)}, "unet2."), "has networks at unet0.*unet2"),
    "a key too many": (tiny() | {"unet0.extra.weight": torch.zeros(3)}, "unet0. has extra.weight, which is unknown"),
    "a key beside": (tiny() | {"betas_of_another": torch.zeros(3)}, "belong to no network: betas_of_another"),
    "a key too few": (without(tiny(), "unet1.mid_block1.mlp.1.bias"), "unet1. lacks mid_block1.mlp.1.bias"),
    "no levels": ({"unet0.init_conv.weight": torch.zeros(8, 6, 7, 7)}, "it lacks downs.0.3.weight"),
    "no end": (without(tiny(nets=1), "unet0.final_conv.weight"), "it lacks final_conv.weight"),
    "another rank": (tiny() | {"unet0.init_conv.weight": torch.zeros(8)}, r"init_conv.weight of shape \(8,\) must be"),
    "another width": (waves(shapes(12, (1, 2), 3, 1)), "its stem has 6 channels in and 12 out.*a multiple of 8"),
    "a level off": (
        tiny() | {"unet0.downs.0.3.weight": torch.zeros(12, 8, 4, 4)},
        r"its levels hand down \[12, 16\].*multiples of the width",
    ),
    "another shape": (
        tiny() | {"unet1.mid_attn.fn.norm.g": torch.zeros(1, 8, 1, 1)},
        r"unet1. has mid_attn.fn.norm.g of shape \(1, 8, 1, 1\), expected \(16,\)",
    ),
    "a mask": (tiny(conditions=2), "a state of 3 channels and 6 beside it; task 'paired' has 3 and 3.*task.name="),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_fits_no_published_network_is_refused_with_what_was_found(case, tmp_path):
    saved, message = BROKEN[case]
    with pytest.raises(CheckpointError, match=f"(?s)w.pt.*{message}"):
        report(tmp_path, saved)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("weights", "override", "message"),
    [
        (tiny(), "backbone.width=16", "leave backbone.* alone"),
        (
            tiny(),
            "sampler.name=sm-res",
            r"has 2 networks with 2 heads in all; sampler 'sm-res' has the heads \['res'\]",
        ),
        (tiny(), "sampler.nets=1", "has 2 networks with 2 heads in all; sampler 'sm-res-n' .* on 1"),
        (tiny(nets=1), "sampler.name=sm-res-n", "has 1 network with 1 heads in all"),
        (tiny(decoders=2), "sampler.clock=path", "are told t; leave out sampler.clock"),
        (tiny(), "task.channels=1", "a state of 3 channels and 3 beside it; task 'paired' has 1 and 1"),
        (tiny(), "task.name=generation", "task 'generation' has 3 and 0"),
    ],
)
def test_overrides_that_the_weights_do_not_fit_are_refused(weights, override, message, tmp_path):
    with pytest.raises(CheckpointError, match=f"does not fit: .*{message}"):
        report(tmp_path, weights, override)


def test_overrides_that_are_not_valid_are_spec_errors(tmp_path):
    with pytest.raises(SpecError, match="sampler.steps"):
        report(tmp_path, tiny(), "sampler.steps=0")


@pytest.mark.parametrize("size", [0, 20, 5000])
def test_what_is_no_whole_file_of_torch_is_refused(size, tmp_path):
    report(tmp_path, tiny())
    for content in (
        b"no weights here, but a text that is long enough to be cut" * 100,
        (tmp_path / "w.pt").read_bytes(),
    ):
        (tmp_path / "cut.pt").write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="cut.pt is no whole file that torch.save wrote"):
            convert(tmp_path / "cut.pt", tmp_path / "other")


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(CheckpointError, match="is no file; give a checkpoint such as model-100.pt"):
            convert(path, tmp_path / "run")


def test_a_checkpoint_for_shadow_removal_sees_a_mask_in_0_to_1_beside_its_input(converted):
    trainer = converted(tiny(conditions=2), "task.shown=[{role: mask, channels: 3}]")
    assert (trainer[Task].conditions, dict(trainer[Task].extras)) == (6, {"mask": 3})
    image, mask = torch.rand(3, 8, 12), torch.rand(3, 8, 12)
    restored = [trainer.restore(image, extras={"mask": one}) for one in (mask, 1 - mask)]
    assert not torch.allclose(*restored, atol=1e-3)


def test_a_run_that_is_there_is_overwritten_only_when_told(tmp_path):
    report(tmp_path, tiny())
    with pytest.raises(OutputError, match="exists"):
        report(tmp_path, tiny())
    convert(tmp_path / "w.pt", tmp_path / "run", overwrite=True)
