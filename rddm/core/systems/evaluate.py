"""How good a model is, on images it has never seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from zlib import crc32

from torch import Tensor
from tqdm import tqdm

from rddm.core import metrics
from rddm.core.data import seeded
from rddm.core.entity import Entity
from rddm.core.errors import DataError
from rddm.core.kinds import Task
from rddm.core.systems.sample import restore


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
    for index in range(rank, min(limit or len(records), len(records)), world):
        name = records.names[index]
        try:
            pair = task.example(records[index], None, seeded(crc32(name.encode())))
        except DataError as error:
            warnings.warn(f"left out of evaluation: {name}: {error}", stacklevel=2)
            continue
        output = restore(entity, pair["input"], **options)
        scores = metrics.measure(output, pair["target"])
        before = metrics.measure(pair["input"], pair["target"])
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


def evaluate(entity: Entity, *, limit: int | None = None, progress: bool = False, **options: Any) -> dict[str, Any]:
    """Mean scores over the evaluation images, with those of the untouched input beside them.

    `{"psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", ..., "images": how many, "per_image": {name: scores}}`; see
    `rddm.core.metrics` for the conventions.

    Raises:
        DataError: no evaluation image can be read.
    """
    total = min(limit or 10**9, len(entity[Task].eval_records()))
    found = tqdm(
        results(entity, limit=limit, **options),
        total=total,
        desc="evaluate",
        disable=not progress,
        leave=False,
    )
    scores = {result.name: dict(result.scores) for result in found}
    return {**mean(scores), "images": len(scores), "per_image": scores}
