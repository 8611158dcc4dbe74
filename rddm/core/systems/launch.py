"""The processes of a launch: one group, what its members tell each other, and the signals that end them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from rddm.core.errors import LaunchError, SpecError
from rddm.core.spec import Training

#: Where launchers say how many processes they started: torchrun, Open MPI, other MPIs, srun.
WORLD_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")


def accelerator(training: Training) -> Accelerator:
    """This process's place in the launch, its device and its precision.

    Raises:
        SpecError: fp16 without a GPU.
        LaunchError: several processes were launched that would not train one model.
    """
    cpu = not torch.accelerator.is_available()
    if cpu and training.precision == "fp16":
        raise SpecError("Spec", [(("training", "precision"), "fp16 needs a GPU; on the CPU use bf16 or no")])
    AcceleratorState._reset_state()  # a process may train several specs, each with its own precision
    place = Accelerator(cpu=cpu, mixed_precision=training.precision, gradient_accumulation_steps=training.accumulate)
    world = next((int(os.environ[name]) for name in WORLD_SIZES if name in os.environ), 1)
    if place.num_processes != world:
        raise LaunchError(
            f"{world} processes were launched, but each would train alone ({place.num_processes} in its group):"
            " nothing would be shared. Start them with `torchrun --nproc_per_node N -m rddm fit ...`"
        )
    return place


def gather(place: Accelerator, value: Any) -> list[Any]:
    """The values of all processes, in rank order; the same list in all."""
    if place.num_processes == 1:
        return [value]
    gathered: list[Any] = [None] * place.num_processes
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def average(place: Accelerator, scores: Mapping[str, float]) -> dict[str, float]:
    """The mean of each score over all processes; the same in all."""
    if place.num_processes == 1:
        return dict(scores)
    values = torch.tensor(list(scores.values()), device=place.device, dtype=torch.float32)
    return dict(zip(scores, place.reduce(values, reduction="mean").tolist(), strict=True))


def agree(place: Accelerator, flag: bool) -> bool:
    """Whether any process raised its flag; the same answer in all."""
    if place.num_processes == 1:
        return flag
    return bool(place.reduce(torch.tensor(float(flag), device=place.device)).item())


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C (or SIGTERM, a scheduler's notice) fills, so that a step may end well.

    The second one stops at once.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    kept = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
