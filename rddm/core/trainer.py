"""The assembled model: an entity with everything that can be done with it as a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import torch
from timm.optim import list_optimizers

from rddm.core import checkpoint
from rddm.core.entity import Entity
from rddm.core.errors import CheckpointError, SpecError
from rddm.core.files import fresh_folder
from rddm.core.kinds import Backbone, Sampler, Schedule, Task
from rddm.core.metrics import Choice
from rddm.core.network import Network, initialised
from rddm.core.process import Path as ProcessPath
from rddm.core.spec import Spec, Training, override, read_table
from rddm.core.systems.check import check
from rddm.core.systems.evaluate import Result, evaluate, results
from rddm.core.systems.sample import restore, sample
from rddm.core.systems.tiles import Tile
from rddm.core.systems.trajectory import Generators

if TYPE_CHECKING:
    from torch import Tensor

    from rddm.core.systems.profile import Profile


class Options(TypedDict, total=False):
    """How to sample, where it differs from the spec; see `rddm.core.systems.sample`."""

    steps: int | None
    eta: float | None
    sampler: Sampler | str | dict[str, object] | None
    generator: Generators | None
    tile: Tile
    overlap: int | None


class Drawing(TypedDict, total=False):
    """How to draw images; see `rddm.core.systems.sample.samples`."""

    noise: Tensor | None
    size: int | Sequence[int] | None
    seed: int
    start: int
    steps: int | None
    eta: float | None
    sampler: Sampler | str | dict[str, object] | None
    batch: int
    progress: bool


class Trainer(Entity):
    """What `rddm.build` returns: task, schedule, sampler, backbone, training, and the network they make."""

    @classmethod
    def assemble(cls, spec: Spec, *, pretrained: bool = True) -> Trainer:
        """The parts of a spec and a freshly initialised network, always the same for the same seed.

        Args:
            pretrained: with the weights that the backbone starts training from; see `initialised`.

        Raises:
            SpecError: parts that do not go together.
        """
        choice = spec.sampler.choice
        heads = () if choice else spec.sampler.heads  # one head, whichever it becomes, needs no weight
        if unknown := set(spec.training.loss_weights) - set(heads):
            problem = f"{sorted(unknown)} are no heads of {spec.sampler.name}; it has {list(heads)}"
            raise SpecError("Spec", [(("training", "loss_weights"), problem)])
        # those of apex and bitsandbytes need packages and GPUs of their own, adahessian a second derivative
        excluded = ["fused*", "bnb*", "adahessian"]
        optimizer, known = spec.training.optimizer, [str(name) for name in list_optimizers(exclude_filters=excluded)]
        if optimizer not in known:
            near = get_close_matches(optimizer.lower(), known, n=5) or known[:5]
            problem = (
                f"unknown optimizer {optimizer!r}; near it: {', '.join(near)}; timm.optim.list_optimizers() has more"
            )
            raise SpecError("Spec", [(("training", "optimizer"), problem)])
        if spec.training.precision == "fp16" and spec.training.per_network and spec.sampler.nets > 1:
            problem = "fp16 scales the gradients of one optimizer only; use bf16, or per_network: false"
            raise SpecError("Spec", [(("training", "precision"), problem)])
        if spec.training.precision == "fp16" and choice:
            problem = "fp16 scales the gradients of one optimizer only, and lambda has its own; use bf16, or no"
            raise SpecError("Spec", [(("training", "precision"), problem)])
        if spec.backbone.ndim != spec.task.ndim:
            problem = f"must be task.ndim, {spec.task.ndim}, the number of dimensions; given {spec.backbone.ndim}"
            raise SpecError("Spec", [(("backbone", "ndim"), problem)])
        spec.training.crop_size(spec.task.ndim)
        path = _path(spec.schedule)
        check(Entity((path, spec.sampler, spec.task)))
        parts = (
            spec,
            spec.task,
            spec.schedule,
            spec.sampler,
            spec.backbone,
            spec.training,
            path,
            initialised(spec.backbone, spec.sampler, spec.task, spec.training.seed, pretrained=pretrained),
        )
        return cls(parts)

    def fit(
        self,
        out: str | Path | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool = True,
    ) -> dict[str, Any]:
        """Train, and leave a run folder; see `rddm.core.systems.fit.fit`. A sampler that selects is settled by it.

        Args:
            out: the run folder; by default a new one, `runs/<date>-<time>-<spec id>`.
        """
        from rddm.core.systems.fit import fit

        folder = Path(out) if out else Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{self[Spec].id}"
        return fit(self, folder, resume=resume, overwrite=overwrite, progress=progress)

    def restore(
        self,
        image: Tensor,
        *,
        noise: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> Tensor:
        """Restored images (B, C, *S) or (C, *S) in [0, 1]; see `rddm.core.systems.sample.restore`."""
        return restore(self, image, noise=noise, extras=extras, progress=progress, **options)

    def sample(self, count: int | None = None, **options: Unpack[Drawing]) -> Tensor:
        """Images (N, C, *S) in [0, 1] drawn from noise; see `rddm.core.systems.sample.samples`."""
        return sample(self, count, **options)

    def results(self, *, limit: int | None = None, **options: Unpack[Options]) -> Iterator[Result]:
        """The evaluation images one by one, with what was measured; see `rddm.core.systems.evaluate.results`."""
        return results(self, limit=limit, **options)

    def evaluate(
        self,
        *,
        limit: int | None = None,
        metrics: Choice | None = None,
        progress: bool = False,
        **options: Unpack[Options],
    ) -> dict[str, Any]:
        """Mean scores over the evaluation images; see `rddm.core.systems.evaluate.evaluate`."""
        return evaluate(self, limit=limit, metrics=metrics, progress=progress, **options)

    def learnt(self) -> dict[str, Any]:
        """What training found out about the sampler (for `auto` its decision, when and why); mostly nothing."""
        return {key: getattr(self[Sampler], key) for key in self[Sampler].learnt}

    def path_dependence(self, *, limit: int = 64, times: int = 9, seed: int = 0) -> dict[str, float]:
        """How far predictions depend on the path; see `rddm.core.systems.dependence.path_dependence`."""
        from rddm.core.systems.dependence import path_dependence

        return path_dependence(self, limit=limit, times=times, seed=seed)

    def profile(self, size: tuple[int, ...] = (256, 256), *, runs: int = 3) -> Profile:
        """Parameters, MACs, time and memory; see `rddm.core.systems.profile.profile`."""
        from rddm.core.systems.profile import profile

        return profile(self, size, runs=runs)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write spec and weights, for `rddm.load`.

        Raises:
            OutputError: the folder exists and `overwrite` is not set, or it cannot be written.
        """
        checkpoint.warn_unregistered(self[Spec])
        with fresh_folder(Path(folder), overwrite=overwrite) as temporary:
            checkpoint.write_model(temporary, self[Spec], self[Network])

    def to(self, device: str | torch.device) -> Trainer:
        """Move the network; returns self. Raises SpecError for a device that this machine lacks."""
        self[Network].to(_device(device))
        return self

    def replace(self, *parts: object) -> Self:
        """A new trainer with these parts in place of those of their kinds; networks and their weights are shared.

        The tables follow a schedule, and the spec that is saved follows every part but a sampler with other heads:
        that one samples here, and what is saved is the model with its own.

        Raises:
            SpecError: a backbone, which would need another network (use `rddm.build`), or parts that do not fit.
        """
        new = super().replace(*parts)
        own, sampler = self[Spec].sampler, new[Sampler]
        if new[Backbone] != self[Backbone]:
            raise SpecError("Spec", [(("backbone",), "needs a network of its own; make one with rddm.build")])
        same = (sampler.heads, sampler.nets, sampler.clock) == (own.heads, own.nets, own.clock)
        spec = Spec(
            task=new[Task],
            schedule=new[Schedule],
            sampler=sampler if same else own,
            backbone=new[Backbone],
            training=new[Training],
        )
        return super(Trainer, new).replace(spec, _path(new[Schedule]))


def build(spec: Spec | Mapping[str, Any] | str | Path) -> Trainer:
    """A trainer from a spec: a `Spec`, a table of its keys, or a .yaml, .toml or .json file.

    Raises:
        SpecError: a key or a name is unknown, or a value out of range; every problem with its path.
    """
    if isinstance(spec, str | Path):
        spec = read_table(Path(spec))
    return Trainer.assemble(spec if isinstance(spec, Spec) else _spec(spec))


def _spec(table: object) -> Spec:
    if not isinstance(table, Mapping):
        raise SpecError("Spec", [((), f"must be a Spec, a table or a file's name; given {table!r}")])
    _check_keys(table)
    return Spec(**table)


def _check_keys(table: object, path: tuple[str, ...] = ()) -> None:
    if isinstance(table, Mapping):
        for key, value in table.items():
            if not isinstance(key, str):
                raise SpecError("Spec", [((*path, str(key)), f"keys are texts; given {key!r}")])
            _check_keys(value, (*path, key))


def load(folder: str | Path, device: str | torch.device | None = None, *, overrides: Sequence[str] = ()) -> Trainer:
    """A trained model from a run, a checkpoint of it, or a folder that `save` wrote.

    Args:
        device: where its network lives; by default the machine's accelerator, else the CPU.
        overrides: keys of its spec to change, such as "task.eval=data/other" or "sampler.steps=2".

    Raises:
        CheckpointError: no model is there, it is damaged, or its weights belong to another spec.
        SpecError: its spec needs a component that is not installed, or the overrides a sampler with other heads.
    """
    if not isinstance(folder, str | Path):
        raise CheckpointError(f"give the folder of a run; given {folder!r}")
    saved = checkpoint.read_spec(Path(folder))
    spec = _spec(override(saved.model_dump(mode="json"), overrides))
    _check_heads(folder, saved.sampler, spec.sampler)
    trainer = Trainer.assemble(spec, pretrained=False)
    checkpoint.read_weights(Path(folder), trainer[Network])
    return trainer.to(device or next(iter(_devices())))


def _check_heads(folder: str | Path, own: Sampler, other: Sampler) -> None:
    # two samplers with one head each have networks of one shape, so that the weights would load and mean something else
    if other.heads != own.heads:
        problem = f"the network in {folder} has the heads {list(own.heads)} of {own.name}, and {other.name} needs"
        way = f"leave sampler={other.name} out and sample with it by --sampler {other.name} (sampler={other.name!r})"
        raise SpecError("Spec", [(("sampler",), f"{problem} {list(other.heads)}; {way}")])


def _devices() -> list[str]:
    # the best first
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return [found.type, "cpu"] if found else ["cpu"]


def _device(wanted: str | torch.device) -> torch.device:
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    there = device is not None and device.type in _devices()
    if (
        device is None
        or not there
        or (device.type != "cpu" and (device.index or 0) >= torch.accelerator.device_count())
    ):
        raise SpecError("device", [((), f"{str(wanted)!r} is not there; this machine has {' and '.join(_devices())}")])
    return device


def _path(schedule: Schedule) -> ProcessPath:
    path = schedule.path()
    if not isinstance(path, ProcessPath):
        raise SpecError("Spec", [(("schedule",), f"{schedule.name}.path() must give a Path; gave {path!r}")])
    return path
