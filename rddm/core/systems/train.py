"""Training: one step, and a whole run with its log, validations and checkpoints."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import Generator, Tensor, nn

from rddm.core import checkpoint
from rddm.core.data import Batch, Examples, Reporter, batches
from rddm.core.draws import seeded
from rddm.core.entity import Entity
from rddm.core.errors import SpecError, TrainingError
from rddm.core.files import fresh_folder
from rddm.core.heads import encode
from rddm.core.kinds import Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Node, Prediction, forward, unchanged
from rddm.core.process import Path as Process
from rddm.core.spec import Spec, Training
from rddm.core.systems import launch

LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}


@dataclass(frozen=True, eq=False)
class Look:
    """What a network was shown of a batch, and what it said, (B, C, *S): images in [-1, 1], or their coefficients.

    Where the path has a spectrum, all are coefficients, and `back` gives the images.
    """

    path: Process  # for images of this size
    node: Node
    x_t: Tensor
    truth: Prediction
    found: Mapping[str, Tensor]  # by head, float32
    back: Callable[[Tensor], Tensor]


def look(
    entity: Entity,
    network: nn.Module,
    batch: Batch,
    generator: Generator,
    device: torch.device,
    times: Tensor | None = None,
) -> Look:
    """One network evaluation on a batch at random times, 1..T or among `times`, under fresh noise.

    `network` is the entity's, as wrapped for several processes.
    """
    path, task = entity[Process], entity[Task]
    x0, x_in = (batch[role].to(device, non_blocking=True) * 2 - 1 for role in ("target", "input"))
    among = torch.arange(1, path.T + 1) if times is None else times
    drawn = torch.randint(len(among), (len(x0),), generator=generator, device=device)
    here, spectrum = path.on(tuple(x0.shape[2:])), path.spectrum
    to, back = (unchanged, unchanged) if spectrum is None else (spectrum.to, spectrum.back)
    node = here[among[drawn.cpu()]]
    truth = Prediction(to(x0), to(x_in - x0), torch.randn(x0.shape, generator=generator, device=device))
    extras = {role: extra.to(device, non_blocking=True) for role, extra in batch.get("extras", {}).items()}
    x_t, condition = forward(truth.x0, truth.x0 + truth.res, truth.eps, node), task.condition(x_in, extras)
    seen = back(x_t) if condition is None else torch.cat([back(x_t), condition], dim=1)
    found = network(seen, entity[Network].times(path.T, node))
    return Look(here, node, x_t, truth, {head: to(value.float()) for head, value in found.items()}, back)


def losses(
    entity: Entity, network: nn.Module, batch: Batch, generator: Generator, device: torch.device
) -> dict[str, Tensor]:
    """The loss of each head on one batch, as `look` draws it. Source: arXiv 2308.13712, training objectives."""
    loss = LOSSES[entity[Training].loss]
    seen = look(entity, network, batch, generator, device)
    return {
        head: loss(seen.back(seen.found[head]), seen.back(encode(target, seen.truth)))
        for head, target in entity[Sampler].targets(seen.path, seen.node).items()
    }


def optimizers(training: Training, network: Network) -> list[torch.optim.Optimizer]:
    """One optimizer for all networks, or one for each, from timm's factory.

    Raises:
        SpecError: timm does not know the optimizer, or it does not take these settings.
    """
    modules = list(network.nets.values()) if training.per_network else [network]
    # one kernel for all weights, which is faster on CPU and GPU alike
    fused: dict[str, Any] = {"fused": True} if training.optimizer in ("adam", "adamw") else {}
    try:
        return [
            create_optimizer_v2(
                module, opt=training.optimizer, lr=training.lr, weight_decay=training.weight_decay, **fused
            )
            for module in modules
        ]
    except (ValueError, AssertionError, TypeError) as cause:
        raise SpecError(
            "Spec", [(("training", "optimizer"), f"timm cannot make {training.optimizer!r}: {cause}")]
        ) from cause


@dataclass
class Run:
    """A training in progress: what a step changes, and what a checkpoint keeps."""

    entity: Entity
    accelerator: Accelerator
    wrapped: nn.Module
    optimizers: list[Any]
    ema: ModelEmaV3 | None
    examples: Examples
    step: int = 0
    best: float = -math.inf
    report: Reporter = field(default_factory=Reporter)

    @classmethod
    def start(cls, entity: Entity) -> Run:
        """Everything on its device and ready for the first step."""
        training, network = entity[Training], entity[Network]
        examples = Examples(entity[Task], training)
        accelerator = launch.accelerator(training)
        # for networks that draw (dropout); another stream in each process
        set_seed(training.seed, device_specific=True)
        network.to(accelerator.device).train()
        ema = None
        if training.ema is not None:
            ema = ModelEmaV3(network, training.ema.decay, use_warmup=True)
        wrapped, *prepared = accelerator.prepare(network, *optimizers(training, network))
        return cls(entity, accelerator, wrapped, prepared, ema, examples)

    @property
    def world(self) -> int:
        return int(self.accelerator.num_processes)

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the end, one optimizer step at a time; yields the step's losses, gradient norm and rate.

        Raises:
            TrainingError: loss or gradient is not finite; the weights are those before that step.
        """
        training, k = self.entity[Training], self.entity[Training].accumulate
        schedulers = [
            create_scheduler_v2(
                optimizer.optimizer,
                sched=training.lr_schedule,
                num_epochs=training.steps,
                warmup_epochs=training.warmup,
                warmup_lr=training.lr / (training.warmup + 1),
                step_on_epochs=False,
                updates_per_epoch=1,
            )[0]
            for optimizer in self.optimizers
        ]
        loader = batches(self.examples, self.step * k, training.steps * k, self.accelerator.process_index, self.world)
        passes = iter(loader)
        self.wrapped.train()
        while self.step < training.steps:
            for scheduler in schedulers:
                scheduler.step_update(self.step)
            found = [self._pass(next(passes), self.step * k + i) for i in range(k)]
            scores = {name: sum(one[name].item() for one in found) / k for name in found[0]}
            scores["grad_norm"] = self._clip()
            self.check(scores)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.step += 1
            self._average()
            yield {**scores, "lr": self.optimizers[0].param_groups[0]["lr"]}

    def _pass(self, batch: Batch, number: int) -> dict[str, Tensor]:
        training, accelerator = self.entity[Training], self.accelerator
        self.report(batch["problems"])
        generator = seeded(training.seed, 2, number, accelerator.process_index, device=accelerator.device)
        with accelerator.accumulate(self.wrapped):
            heads = losses(self.entity, self.wrapped, batch, generator, accelerator.device)
            loss = sum(
                (training.loss_weights.get(head, 1.0) * value for head, value in heads.items()),
                torch.zeros(()),
            )
            accelerator.backward(loss)
        return {"loss": loss.detach()} | {f"loss_{head}": value.detach() for head, value in heads.items()}

    def _clip(self) -> float:
        limit = self.entity[Training].clip_grad
        norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), math.inf if limit is None else limit)
        return float(norm)

    def _average(self) -> None:
        settings = self.entity[Training].ema
        if self.ema is None or settings is None:
            return
        if self.step <= settings.after:
            self.ema.set(self.entity[Network])  # type: ignore[no-untyped-call]
        elif self.step % settings.every == 0:
            self.ema.update(self.entity[Network], step=(self.step - settings.after) // settings.every + 1)

    def check(self, scores: Mapping[str, float]) -> None:
        """Raise TrainingError where a score of the step in progress is not finite."""
        # fp16 overflows now and then by design: its scaler skips that step
        scaled = self.accelerator.scaler is not None
        for name, value in scores.items():
            if not math.isfinite(value) and not (scaled and name == "grad_norm"):
                training = self.entity[Training]
                raise TrainingError(
                    f"{name} is {value} at step {self.step + 1}; the weights before that step are kept. Try a smaller"
                    f" training.lr (now {training.lr:g}), a training.warmup (now {training.warmup}), or"
                    f" training.precision=no (now {training.precision})"
                )

    @property
    def network(self) -> Network:
        """The weights that restore: the moving average where there is one."""
        if self.ema is None:
            return self.entity[Network]
        assert isinstance(self.ema.module, Network)
        return self.ema.module

    @contextmanager
    def settling(self) -> Iterator[None]:
        """However the block ends, leave the network as `restore` wants it: averaged, unwrapped, in evaluation mode."""
        try:
            yield
        finally:
            network = self.accelerator.unwrap_model(self.wrapped, keep_fp32_wrapper=False)
            network.load_state_dict(self.network.state_dict())
            network.eval()
            vars(network).pop("forward", None)  # accelerate's wrapper for mixed precision

    def save(self, folder: Path) -> None:
        """Write a checkpoint to go on from, whole or not at all; called by every process."""
        random_states = launch.gather(self.accelerator, checkpoint.random_state())
        if self.accelerator.is_main_process:
            with fresh_folder(folder, overwrite=True) as temporary:
                checkpoint.write_model(temporary, self.entity[Spec], self.network)
                state = {
                    "step": self.step,
                    "best": self.best,
                    "weights": self.entity[Network].state_dict() if self.ema is not None else None,
                    "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                    "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
                    "random": random_states,
                }
                torch.save(state, temporary / checkpoint.STATE)
        self.accelerator.wait_for_everyone()

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint, bit-equal to never having stopped.

        With another number of processes it goes on, too, but sees other examples; a warning says so.

        Raises:
            CheckpointError: it is damaged.
        """
        state = checkpoint.read_state(folder)
        self.step, self.best = state["step"], state["best"]
        network = self.entity[Network]
        checkpoint.read_weights(folder, self.network)
        if state["weights"] is not None:
            network.load_state_dict(state["weights"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if len(state["random"]) == self.world:
            checkpoint.set_random_state(state["random"][self.accelerator.process_index])
        else:
            message = f"{folder} was written by {len(state['random'])} processes, and goes on with {self.world}"
            warnings.warn(f"{message}: not bit-equal to never having stopped", stacklevel=2)
