"""Training examples by number: what a run sees at a step depends on its seed and the step alone."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from itertools import chain
from typing import Any, NotRequired, TypedDict

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from rddm.core.draws import seeded
from rddm.core.errors import DataError
from rddm.core.kinds import Records, Task
from rddm.core.spec import Training


class Batch(TypedDict):
    """Images (B, C, *S) in [0, 1], those beside target and input by role, and problems met while reading them."""

    target: Tensor
    input: Tensor
    extras: NotRequired[dict[str, Tensor]]
    problems: list[str]


class Examples(Dataset[Any]):
    """Endless training examples: number n is `permutation(seed, n // len)[n % len]`, cropped and changed by seed n.

    Of records with weights, `draws(seed, n // len)` takes the place of the permutation: as many draws with
    replacement, each record with the probability weight / sum of weights.

    A record that cannot be read is replaced by the next one, and reported with the example.

    Raises:
        DataError: no record can be read, some are smaller than the crop, or there are weights not one for each record.
    """

    def __init__(self, task: Task, training: Training) -> None:
        self.task, self.training, self.size = task, training, training.crop_size(task.ndim)
        self.records: Records = task.train_records()
        self._check_sizes()
        weights = self.records.weights
        self._weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        if self._weights is not None and len(self._weights) != len(self.records):
            raise DataError(f"the source gives {len(self._weights)} weights for {len(self.records)} examples")
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __getitem__(self, number: int) -> dict[str, Any]:
        count, seed = len(self.records), self.training.seed
        epoch, place = divmod(number, count)
        if self._order[0] != epoch:
            self._order = (epoch, self._drawn(count, seeded(seed, 0, epoch)))
        problems: list[str] = []
        drawn = (int(self._order[1][(place + shift) % count]) for shift in range(count))
        for index in drawn if self._weights is None else chain(drawn, range(count)):  # a draw may miss some
            try:
                example = self.task.example(self.records[index], self.size, seeded(seed, 1, number))
            except DataError as error:
                problems.append(f"{self.records.names[index]}: {error}")
                continue
            return {**example, "problems": problems}
        raise DataError(f"none of the {count} training images can be read; the first: {problems[0]}")

    def _drawn(self, count: int, generator: Generator) -> Tensor:
        if self._weights is None:
            return torch.randperm(count, generator=generator)
        return torch.multinomial(self._weights, count, replacement=True, generator=generator)

    def _check_sizes(self) -> None:
        sizes = self.records.sizes()
        if odd := [size for size in sizes if size is not None and len(size) != len(self.size)]:
            kind = {1: "signals", 2: "images", 3: "volumes"}[len(self.size)]
            raise DataError(f"task.ndim says {kind}, and the source gives examples of size {odd[0]}")
        small = [
            f"{name} ({'x'.join(map(str, size))})"
            for name, size in zip(self.records.names, sizes, strict=True)
            if size is not None and any(side < want for side, want in zip(size, self.size, strict=True))
        ]
        if small:
            crop = "x".join(map(str, self.size))
            largest = min(min(size) for size in sizes if size is not None)
            raise DataError(
                f"{len(small)} of {len(sizes)} training images are smaller than the crop {crop}:"
                f" {', '.join(small[:5])}. Remove them, or set training.crop to at most {largest}"
            )


def evaluation_crops(task: Task, size: tuple[int, ...], limit: int | None = None) -> list[dict[str, Tensor]]:
    """The first `limit` evaluation examples (all by default) cut to a size, the same ones every time.

    Raises:
        DataError: none can be read.
    """
    records = task.eval_records()
    found = [example for _, example in task.examples(records, size, range(len(records))[:limit])]
    if not found:
        raise DataError("no evaluation image could be read")
    return found


class _Numbers:
    """The numbers of the examples of each batch of one process, from forward pass `start` to `stop`."""

    def __init__(self, start: int, stop: int, batch_size: int, rank: int, world: int) -> None:
        self.passes, self.batch_size, self.rank, self.world = range(start, stop), batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for number in self.passes:
            first = (number * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return len(self.passes)


def batches(examples: Examples, start: int, stop: int, rank: int, world: int) -> DataLoader[Batch]:
    """The batches of one of `world` processes for the forward passes start .. stop - 1."""
    training = examples.training
    return DataLoader(
        examples,
        batch_sampler=_Numbers(start, stop, training.batch_size, rank, world),
        num_workers=training.workers,
        collate_fn=_collate,
        generator=Generator().manual_seed(0),  # else every loader would draw from the global generator
        worker_init_fn=_leave_ctrl_c_to_the_main_process,
        multiprocessing_context="spawn" if training.workers else None,
        persistent_workers=False,
    )


def _leave_ctrl_c_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[dict[str, Any]]) -> Batch:
    problems = [problem for item in items for problem in item["problems"]]
    stacked = {role: torch.stack([item[role] for item in items]) for role in items[0] if role != "problems"}
    return Batch(target=stacked.pop("target"), input=stacked.pop("input"), extras=stacked, problems=problems)


class Reporter:
    """Warns of each unreadable image once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, problems: list[str]) -> None:
        for problem in problems:
            if problem not in self.seen:
                self.seen.add(problem)
                warnings.warn(f"left out of training: {problem}", stacklevel=2)
