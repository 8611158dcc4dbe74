"""Checkpoints of the published implementation of RDDM (arXiv 2308.13712), made into runs."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rddm.convert._reference_schedule import BUFFERS, find
from rddm.convert._reference_unet import STEM, State, UNetFound, infer, some
from rddm.convert.report import Report
from rddm.core.errors import CheckpointError
from rddm.core.network import Network
from rddm.core.spec import Spec, override
from rddm.core.trainer import Trainer

EXPECTED = (
    "expected what the published training saves, {'step', 'model', 'opt' or 'opt0' and 'opt1', 'ema', 'scaler'}, with"
    f" weights such as 'ema_model.model.unet0.{STEM}' in 'ema'"
)


def convert(checkpoint: Path, out: Path, overrides: Sequence[str] = (), overwrite: bool = False) -> Report:
    """Write the run folder of a published checkpoint, which `rddm.load` reads; the average of the weights is taken.

    Width, multipliers, networks, decoders, channels and conditions follow from the shapes of the weights, the
    schedule from the tables that are saved beside them. What no checkpoint says is assumed, and listed in the report.

    Args:
        overrides: keys of the spec to set, such as "task.eval=data/rain", "sampler.name=sm-n" or "sampler.steps=2".

    Raises:
        CheckpointError: the file is no such checkpoint, holds other objects than weights, fits no U-Net, or does not
            fit what the overrides ask for.
        SpecError: an override is not valid.
        OutputError: `out` is there and `overwrite` is not set, or cannot be written.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    weights, passed_over = _weights(checkpoint)
    networks, rest = _networks(weights, checkpoint)
    unet = infer(networks, checkpoint)
    table, guessed = _table(unet, len(networks), rest)
    spec = Spec(**override(table, overrides))
    _check(spec, unet, len(networks), checkpoint)
    trainer = Trainer.assemble(spec)
    mapped = _load(trainer[Network], networks, unet)
    trainer.save(out, overwrite=overwrite)
    return Report(checkpoint, out, spec, mapped, (*passed_over, *sorted(rest)), _unsaid(guessed, overrides))


def _weights(file: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The state of the published diffusion module, and what else the file holds."""
    if not file.is_file():
        raise CheckpointError(f"{file} is no file; give a checkpoint such as model-100.pt")
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as cause:  # damaged archives raise many kinds
        objects = re.findall(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(cause))
        if isinstance(cause, pickle.UnpicklingError) and objects:
            raise CheckpointError(
                f"{file} holds objects ({objects[0]}); only tensors and numbers are read. If you trust it, load it with"
                " torch and save its 'ema' and 'model' state dicts alone"
            ) from cause
        reason = str(cause).partition("\n")[0]
        raise CheckpointError(
            f"{file} is no whole file that torch.save wrote ({type(cause).__name__}: {reason[:120]})"
        ) from cause
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"{file} holds a {type(saved).__name__}; {EXPECTED}")
    for name, prefix in (("ema", "ema_model."), ("model", ""), (None, "")):
        state = saved if name is None else saved.get(name)
        if not isinstance(state, Mapping):
            continue
        found = {
            str(key).removeprefix(prefix).removeprefix("module."): value
            for key, value in state.items()
            if str(key).startswith(prefix) and isinstance(value, Tensor)
        }
        if any(key.endswith(STEM) for key in found):
            others = {str(key).split(".")[0] for key in state if not str(key).startswith(prefix)}
            beside = [f"{name}.{key}" for key in sorted(others)]
            return found, [*([] if name is None else sorted(str(key) for key in saved if key != name)), *beside]
    raise CheckpointError(f"{file} has the keys {some(map(str, saved))}; {EXPECTED}")


def _networks(weights: State, file: Path) -> tuple[Mapping[str, State], State]:
    """The states of the networks by their prefix, residual before noise, and what stands beside them."""
    weights = {key.removeprefix("model."): value for key, value in weights.items()}
    prefixes = sorted(key.removesuffix(STEM) for key in weights if key.endswith(STEM))
    if prefixes not in ([""], ["unet0."], ["unet0.", "unet1."]):
        given = ", ".join(prefix + STEM for prefix in prefixes)
        raise CheckpointError(f"{file} has networks at {given}; expected 'unet0.', 'unet0.' and 'unet1.', or no prefix")
    beside = {key for key in weights if key in BUFFERS or key == "alpha_res"}
    own = {key: value for key, value in weights.items() if key not in beside}
    networks = {
        prefix: {key.removeprefix(prefix): value for key, value in own.items() if key.startswith(prefix)}
        for prefix in prefixes
    }
    if foreign := [key for key in own if not key.startswith(tuple(prefixes))]:
        raise CheckpointError(f"{file} has keys that belong to no network: {some(foreign)}")
    return networks, {key: weights[key] for key in beside}


def _table(unet: UNetFound, nets: int, rest: State) -> tuple[dict[str, Any], dict[str, str]]:
    """The spec of the paper's experiment that the checkpoint looks like, and what of it is guessed, by key."""
    restores = unet.conditions > 0
    schedule, recognised = find(rest, restores)
    clock = "path" if schedule["name"] == "ddim" and not restores else "index"
    task = "paired" if restores else "generation"
    guessed = {
        "backbone": "8 groups in each norm, 4 heads of 32 in each attention, as the paper's network has",
        "task.name": f"the task is {task}, because the network sees {'its input' if restores else 'the state alone'}",
        "task.train": "the folder data/train to train on; say task.train=FOLDER",
        "task.eval": "the folder data/eval to evaluate on; say task.eval=FOLDER",
        "sampler.clock": f"sampler.clock={clock}; published inpainting, translation and path-independent generation"
        " have 'path', all else has 'index'",
        "sampler.clip": "sampler.clip=x0; say sampler.clip=residual to sample as it was published",
    }
    if not recognised:
        guessed["schedule.beta_T2"] = (
            "beta_T2 = 1, because no tables are saved; say schedule.beta_T2=0.01 for shadow removal"
        )
    if nets * unet.decoders == 2:
        sampler = "sm-res-n"
        guessed["sampler.name"] = (
            "sampler.name=sm-res-n; say sm-x0-n, sm-res-mix or sm-x0-mix where image or sums are predicted"
        )
    elif "alpha_res" in rest:  # learnt by automatic objective selection
        sampler = "sm-res" if rest["alpha_res"].item() > 0.5 else "sm-n"
    else:
        sampler = "sm-res" if restores else "sm-n"
        guessed["sampler.name"] = f"sampler.name={sampler}; say sm-res, sm-n or sm-x0 for residual, noise or image"
    table = {
        "task": {"name": task, "channels": unet.channels, "train": "data/train", "eval": "data/eval"},
        "schedule": schedule,
        "sampler": {"name": sampler, "steps": 5 if restores else 10, "clock": clock},
        "backbone": unet.recipe.model_dump(mode="json"),
    }
    if unet.decoders == 2:
        table["sampler"]["nets"] = 1
    return table, guessed


def _unsaid(guessed: Mapping[str, str], overrides: Sequence[str]) -> tuple[str, ...]:
    """What is guessed still, when the overrides have been said."""
    said = [override.partition("=")[0].strip() for override in overrides]
    return tuple(
        text for key, text in guessed.items() if not any(path == key or key.startswith(path + ".") for path in said)
    )


def _check(spec: Spec, unet: UNetFound, nets: int, file: Path) -> None:
    """Refuse a spec, after overrides, that the weights do not fit. Raises CheckpointError."""
    heads, sampler, task = nets * unet.decoders, spec.sampler, spec.task
    problem = None
    if spec.backbone != unet.recipe:
        problem = f"its networks are {unet.recipe!r}; leave backbone.* alone"
    elif len(sampler.heads) != heads or sampler.nets != nets:
        problem = (
            f"it has {nets} network{'s' * (nets > 1)} with {heads} heads in all; sampler {sampler.name!r} has the heads"
            f" {list(sampler.heads)} on {sampler.nets}. Convert all of them; of two heads, one samples alone by"
            " restore(image, sampler='sm-res')"
        )
    elif (task.channels, task.conditions) != (unet.channels, unet.channels * unet.conditions):
        problem = (
            f"its networks see a state of {unet.channels} channels and {unet.channels * unet.conditions} beside it;"
            f" task {task.name!r} has {task.channels} and {task.conditions}; choose another by task.name=. Beside the"
            " state stand, in this order, the input in [-1, 1] and, for shadow removal, a mask in [0, 1]:"
            f" task.shown=[{{role: mask, channels: {unet.channels}}}]"
        )
    elif unet.decoders > 1 and sampler.clock != "index":
        problem = "networks with a shared encoder are told t; leave out sampler.clock"
    if problem:
        raise CheckpointError(f"{file} does not fit: {problem}")


def _load(network: Network, networks: Mapping[str, State], unet: UNetFound) -> tuple[tuple[str, str], ...]:
    """Load the weights, each of which has its place, and give the names there and here."""
    state, mapped = network.state_dict(), []
    for (key, group), (prefix, net) in zip(network.groups.items(), networks.items(), strict=True):
        for here, there in unet.names.items():
            name, value = f"nets.{key}.{here}", net[there]
            if here == "time.hidden.weight":
                own = "bbar" if prefix == "unet1." or group == ("noise",) else "abar"
                value = _told(value, network.clocks[key], own)
            state[name] = value.reshape(state[name].shape)
            mapped.append((prefix + there, name))
    network.load_state_dict(state)
    return tuple(mapped)


def _told(weight: Tensor, clock: Sequence[str], own: str) -> Tensor:
    """The first layer over a time's sinusoids, for the times that a network is told here.

    Indices count from 0 there, from 1 here; the sinusoids of t - 1 are those of t, turned, by the angles w of one
    step: `W (sin, cos)(t - 1) = (W_s cos w + W_c sin w, W_c cos w - W_s sin w) (sin, cos)(t)`. Where it is
    told abar and bbar, it reads but its `own`.
    """
    if tuple(clock) == ("t",):
        half = weight.shape[1] // 2
        w = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10000) / (half - 1)))
        sin, cos = weight.double().chunk(2, dim=1)
        return torch.cat([sin * w.cos() + cos * w.sin(), cos * w.cos() - sin * w.sin()], dim=1).to(weight.dtype)
    return torch.cat([weight if name == own else torch.zeros_like(weight) for name in clock], dim=1)
