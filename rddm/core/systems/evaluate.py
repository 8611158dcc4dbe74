"""How good a model is, on images it has never seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from tqdm import tqdm

from rddm.core import metrics
from rddm.core.data import evaluation_crops, seeded
from rddm.core.entity import Entity
from rddm.core.errors import DataError
from rddm.core.extras import of, stacked
from rddm.core.kinds import Task
from rddm.core.spec import Training
from rddm.core.systems.sample import restore, sample

BATCH = 64  # images of a set that are restored together


@dataclass(frozen=True, eq=False)
class Result:
    """One evaluated image: its tensors (C, H, W) in [0, 1] and its scores."""

    name: str
    input: Tensor
    output: Tensor
    target: Tensor
    scores: Mapping[str, float]  # "psnr", .. of the output, "input_psnr", .. of the input


def results(
    entity: Entity, *, limit: int | None = None, part: tuple[int, int] = (0, 1), **options: Any
) -> Iterator[Result]:
    """The evaluation images one by one, at full size; needs what `restore` needs.

    What is drawn for an image, its degradation included, depends on its name alone. An image that cannot be read
    is left out with a warning.

    Args:
        limit: the first so many images only.
        part: (rank, world): every world-th image from rank on.
        options: for `restore`: steps, eta, sampler, generator.
    """
    task = entity[Task]
    records = task.eval_records()
    rank, world = part
    for index in range(len(records))[:limit][rank::world]:
        name = records.names[index]
        try:
            pair = task.example(records[index], None, seeded(crc32(name.encode())))
        except DataError as error:
            warnings.warn(f"left out of evaluation: {name}: {error}", stacklevel=2)
            continue
        output = restore(entity, pair["input"], extras=of(task, pair), **options)
        scores = metrics.measure(task.metrics, output, pair["target"], pair)
        before = metrics.measure(task.metrics, pair["input"], pair["target"], pair)
        scores |= {f"input_{key}": value for key, value in before.items()}
        yield Result(name, pair["input"], output, pair["target"], scores)


def mean(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Each metric's mean over images, by metric.

    Raises:
        DataError: there is no image.
    """
    if not scores:
        raise DataError("no evaluation image could be read")
    first = next(iter(scores.values()))
    return {key: fmean(image[key] for image in scores.values()) for key in first}


def sets(entity: Entity, *, limit: int | None = None, **options: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs, as many as there are evaluation images, and those, both (N, C, H, W) in [0, 1] at training's size.

    Outputs are drawn; or, of a task that has inputs, made from these, which come third, each under noise of its own.

    Raises:
        DataError: no evaluation image can be read.
    """
    task, size = entity[Task], entity[Training].crop_size
    found = evaluation_crops(task, size, limit)
    targets, inputs = (torch.stack([example[role] for example in found]) for role in ("target", "input"))
    if task.from_noise:
        return sample(entity, len(found), size=size, **options), targets, None
    outputs = []
    for first in range(0, len(found), BATCH):
        part = slice(first, min(first + BATCH, len(found)))
        own = {"generator": [seeded(0, 3, number) for number in range(part.start, part.stop)]} | options
        outputs.append(restore(entity, inputs[part], extras=stacked(task, found[part]), **own))
    return torch.cat(outputs), targets, inputs


def evaluate(entity: Entity, *, limit: int | None = None, progress: bool = False, **options: Any) -> dict[str, Any]:
    """Mean scores over the evaluation images, with those of the untouched input beside them.

    Of a task that knows no target for each output (generation, translation): the distance of a set of outputs from
    the evaluation images, `{"swd": ..., "images": how many, "per_image": {}}`.

    `{"psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", ..., "images": how many, "per_image": {name: scores}}`; see
    `rddm.core.metrics` for the conventions.

    Raises:
        DataError: no evaluation image can be read, or limit is below 1.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1, or None for all evaluation images; given {limit}")
    if not entity[Task].target_known:
        images, targets, _ = sets(entity, limit=limit, progress=progress, **options)
        return {**metrics.compare(entity[Task].metrics, images, targets), "images": len(images), "per_image": {}}
    total = len(range(len(entity[Task].eval_records()))[:limit])
    found = tqdm(
        results(entity, limit=limit, **options),
        total=total,
        desc="evaluate",
        disable=not progress,
        leave=False,
    )
    scores = {result.name: dict(result.scores) for result in found}
    return {**mean(scores), "images": len(scores), "per_image": scores}
