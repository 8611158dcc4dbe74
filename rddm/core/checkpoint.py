"""Saved models and training states.

A model folder holds `spec.yaml` and `model.safetensors`, which is what `rddm.load` reads. A run folder is one, with

    metrics.jsonl                  one line per log entry and validation
    selection.jsonl                one line per step of a selection of the objective, lambda in each
    samples/step_00000500.png      degraded | restored | target
    checkpoints/step_00000500/     a model folder, and `state.pt` to go on from
    checkpoints/best/              the model folder of the best validation
    evaluation.json                the last validation, by image
"""

from __future__ import annotations

import random
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rddm.core import registry
from rddm.core.component import Component, Model
from rddm.core.errors import CheckpointError, OutputError, RegistryError
from rddm.core.files import fresh_file
from rddm.core.kinds import Sampler
from rddm.core.network import Network
from rddm.core.spec import FREE_ON_RESUME, Spec, read_table

MODEL, SPEC, STATE = "model.safetensors", "spec.yaml", "state.pt"


def write_model(folder: Path, spec: Spec, network: Network) -> None:
    """Write spec and weights into a folder that is there, each file whole or not at all."""
    with fresh_file(folder / MODEL) as file:
        # cloned, because weights that are tied share memory, which the format does not know
        weights = {key: value.detach().clone().contiguous() for key, value in network.state_dict().items()}
        try:
            save_file(weights, file, metadata={"format": "pt"})
        except SafetensorError as cause:
            raise OutputError(f"{folder / MODEL} cannot be written: {cause}") from cause
    write_spec(folder, spec)


def write_spec(folder: Path, spec: Spec) -> None:
    """Write the complete spec into a folder, whole or not at all."""
    with fresh_file(folder / SPEC) as file:
        file.write_text(spec.to_yaml(), encoding="utf-8")


def warn_unregistered(spec: Spec) -> None:
    """Warn of every component in the spec that its name would not find again when the model is loaded."""
    for part in _components(spec):
        base = next(b for b in type(part).__mro__ if "kind" in vars(b))
        try:
            found: object = registry.load(base, part.name)
        except RegistryError:
            found = None
        if found is not type(part):
            where = f"{type(part).__module__}:{type(part).__qualname__}"
            warnings.warn(
                f"{part.kind} {part.name!r} ({where}) has no entry point, so what is saved here cannot be loaded;"
                f' give its package [project.entry-points."rddm.{part.kind}s"] {part.name} = "{where}", and install it',
                stacklevel=3,
            )


def _components(model: Model) -> Iterator[Component]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Component):
            yield value
        if isinstance(value, Model):
            yield from _components(value)


def read_spec(folder: Path) -> Spec:
    """The spec in a model folder. Raises CheckpointError where there is none."""
    if not (folder / SPEC).is_file():
        raise CheckpointError(f"{folder} is no run: it has no {SPEC}; give the folder that `rddm fit --out` wrote")
    return Spec(**read_table(folder / SPEC))


def read_weights(folder: Path, network: Network) -> None:
    """Load a model folder's weights into a network of the same spec.

    Raises:
        CheckpointError: there are none, they are damaged, or they belong to another network.
    """
    if not (folder / MODEL).is_file():
        raise CheckpointError(
            f"{folder} has no {MODEL}: its training saved no checkpoint yet; run `rddm fit ... --resume` or fit anew"
        )
    try:
        network.load_state_dict(load_file(folder / MODEL))
    except (SafetensorError, OSError) as cause:
        raise CheckpointError(f"{folder / MODEL} cannot be read: {cause}") from cause
    except RuntimeError as cause:
        detail = " ".join(str(cause).split()[:30])
        raise CheckpointError(
            f"{folder / MODEL} belongs to another network than its spec makes: {detail} ..."
        ) from cause


def steps_saved(run: Path) -> list[Path]:
    """The checkpoints to go on from, oldest first."""
    found = (run / "checkpoints").glob("step_*")
    return sorted(p for p in found if re.fullmatch(r"step_\d{8}", p.name) and (p / STATE).is_file())


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints; the best is no part of them."""
    for old in [*steps_saved(run)[:-keep], *(run / "checkpoints").glob(".step_*")]:  # the latter of killed processes
        shutil.rmtree(old, ignore_errors=True)


def check_same(run: Path, spec: Spec) -> None:
    """Refuse to go on under another spec; keys of training that do not change what is learnt may differ.

    Raises:
        CheckpointError: naming each key that differs.
    """
    if not (run / SPEC).is_file():
        raise CheckpointError(f"{run} is no run: it has no {SPEC}; fit without --resume first")
    old, new = _flat(read_table(run / SPEC)), _flat(spec.model_dump(mode="json"))
    free = {f"training.{key}" for key in FREE_ON_RESUME}
    if spec.training.lr_schedule != "constant":  # its rate at a step depends on where it ends
        free.discard("training.steps")
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and key not in free)
    if differing:
        changes = "; ".join(f"{key}: {old.get(key)!r} there, {new.get(key)!r} here" for key in differing[:5])
        raise CheckpointError(f"{run} belongs to another spec ({changes}); use its own, or another --out")


def adopted(run: Path, sampler: Sampler) -> Sampler:
    """A sampler whose choice is open, with what training found out in an earlier run, if that decided already.

    Raises:
        CheckpointError: there is no run.
    """
    saved = read_spec(run).sampler
    if type(saved) is not type(sampler) or saved.choice is not None:
        return sampler
    return sampler.model_copy(update={key: getattr(saved, key) for key in sampler.learnt})


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The training state of a checkpoint. Raises CheckpointError where it is damaged."""
    try:
        state: dict[str, Any] = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    except Exception as cause:  # damaged zip files and pickles raise many kinds
        raise CheckpointError(
            f"{checkpoint / STATE} is damaged ({type(cause).__name__}); remove {checkpoint} to go on from an older one"
        ) from cause
    return state


def random_state() -> dict[str, Any]:
    """The state of every global generator of this process, for networks that draw (dropout)."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put every global generator back into a saved state."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
