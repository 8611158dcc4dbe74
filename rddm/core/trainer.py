"""The assembled model: an entity with everything that can be done with it as a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import torch
from timm.optim import list_optimizers

from rddm.core import checkpoint
from rddm.core.entity import Entity
from rddm.core.errors import SpecError, suggest
from rddm.core.files import fresh_folder
from rddm.core.network import Network
from rddm.core.spec import Spec, override, read_table
from rddm.core.systems.evaluate import evaluate
from rddm.core.systems.sample import Generators, restore

if TYPE_CHECKING:
    from torch import Tensor

    from rddm.core.kinds import Sampler
    from rddm.core.systems.profile import Profile


class Options(TypedDict, total=False):
    """How to sample, where it differs from the spec; see `rddm.core.systems.sample`."""

    steps: int | None
    eta: float | None
    sampler: Sampler | str | dict[str, object] | None
    generator: Generators | None


class Trainer(Entity):
    """What `rddm.build` returns: task, schedule, sampler, backbone, training, and the network they make."""

    @classmethod
    def assemble(cls, spec: Spec) -> Trainer:
        """The parts of a spec and a freshly initialised network, always the same for the same seed.

        Raises:
            SpecError: parts that do not go together.
        """
        heads = spec.sampler.heads
        if unknown := set(spec.training.loss_weights) - set(heads):
            problem = f"{sorted(unknown)} are no heads of {spec.sampler.name}; it has {list(heads)}"
            raise SpecError("Spec", [(("training", "loss_weights"), problem)])
        optimizer, known = spec.training.optimizer, [str(name) for name in list_optimizers()]
        if optimizer not in known:
            problem = f"unknown optimizer {optimizer!r}{suggest(optimizer, known)}"
            raise SpecError("Spec", [(("training", "optimizer"), problem)])
        path = spec.schedule.path()
        if spec.sampler.steps > path.T:
            problem = f"must be at most the schedule's T = {path.T}; given {spec.sampler.steps}"
            raise SpecError("Spec", [(("sampler", "steps"), problem)])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.training.seed)
            network = Network(spec.backbone, spec.sampler, spec.task.channels, spec.task.conditions)
        parts = (
            spec,
            spec.task,
            spec.schedule,
            spec.sampler,
            spec.backbone,
            spec.training,
            path,
            network.eval(),
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
        """Train, and leave a run folder; see `rddm.core.systems.fit.fit`.

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
        progress: bool = False,
        **options: Unpack[Options],
    ) -> Tensor:
        """Restored images (B, C, H, W) or (C, H, W) in [0, 1]; see `rddm.core.systems.sample.restore`."""
        return restore(self, image, noise=noise, progress=progress, **options)

    def evaluate(
        self, *, limit: int | None = None, progress: bool = False, **options: Unpack[Options]
    ) -> dict[str, Any]:
        """Mean scores over the evaluation images; see `rddm.core.systems.evaluate.evaluate`."""
        return evaluate(self, limit=limit, progress=progress, **options)

    def profile(self, size: tuple[int, int] = (256, 256), *, runs: int = 3) -> Profile:
        """Parameters, MACs, time and memory; see `rddm.core.systems.profile.profile`."""
        from rddm.core.systems.profile import profile

        return profile(self, size, runs=runs)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write spec and weights, for `rddm.load`.

        Raises:
            OutputError: the folder exists and `overwrite` is not set, or it cannot be written.
        """
        with fresh_folder(Path(folder), overwrite=overwrite) as temporary:
            checkpoint.write_model(temporary, self[Spec], self[Network])

    def to(self, device: str | torch.device) -> Trainer:
        """Move the network; returns self."""
        self[Network].to(device)
        return self


def build(spec: Spec | Mapping[str, Any] | str | Path) -> Trainer:
    """A trainer from a spec: a `Spec`, a table of its keys, or a .yaml, .toml or .json file.

    Raises:
        SpecError: a key or a name is unknown, or a value out of range; every problem with its path.
    """
    if isinstance(spec, str | Path):
        spec = read_table(Path(spec))
    if not isinstance(spec, Spec):
        if not isinstance(spec, Mapping):
            raise SpecError("Spec", [((), f"must be a Spec, a table or a file's name; given {spec!r}")])
        spec = Spec(**spec)
    return Trainer.assemble(spec)


def load(folder: str | Path, device: str | torch.device | None = None, *, overrides: Sequence[str] = ()) -> Trainer:
    """A trained model from a run, a checkpoint of it, or a folder that `save` wrote.

    Args:
        device: where its network lives; by default the machine's accelerator, else the CPU.
        overrides: keys of its spec to change, such as "task.eval=data/other" or "sampler.steps=2".

    Raises:
        CheckpointError: no model is there, it is damaged, or its weights belong to another spec.
        SpecError: its spec needs a component that is not installed.
    """
    trainer = build(override(checkpoint.read_spec(Path(folder)).model_dump(mode="json"), overrides))
    checkpoint.read_weights(Path(folder), trainer[Network])
    return trainer.to(device or _best_device())


def _best_device() -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
