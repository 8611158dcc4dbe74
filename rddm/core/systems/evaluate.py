"""How good a model is, on images it has never seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rddm.core.data import evaluation_crops
from rddm.core.draws import seeded
from rddm.core.entity import Entity
from rddm.core.errors import DataError, SpecError
from rddm.core.extras import of, stacked
from rddm.core.kinds import Metric, Task
from rddm.core.metrics import Choice, Seen, chosen, look, summary
from rddm.core.spec import Training
from rddm.core.systems.sample import restore, sample

BATCH = 64  # images of a set that are restored together


@dataclass(frozen=True, eq=False)
class Result:
    """One evaluated image: its tensors (C, *S) in [0, 1], as far as there is a target, and what was measured."""

    name: str
    input: Tensor
    output: Tensor
    target: Tensor | None
    seen: Seen

    @property
    def scores(self) -> Mapping[str, float]:
        """Figures: "psnr" and so on of the output, "input_psnr" and so on of the input."""
        return self.seen.scores


def ready(task: Task, measured: Sequence[Metric]) -> None:
    """Refuse metrics that could not measure the evaluation images, before anything takes long: the first one is tried.

    Raises:
        SpecError: one compares with targets, and the images have none.
        RddmError: a file or a package that one needs is missing, or what one gives is no figures.
    """
    for metric in measured:
        metric.prepare()
    if not task.target_known:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out is told when it is measured
        tried = [example for _, example in islice(task.examples(task.eval_records()), 1)]
    lost = dict.fromkeys(metric.name for metric in measured if metric.reference)
    if lost and not all("target" in example for example in tried):
        problem = f"{', '.join(lost)} compare with targets, and the evaluation images have none"
        raise SpecError("metrics", [((), f"{problem}; choose metrics that need none (--metric NAME), or give targets")])
    for example in tried:
        seen = look(measured, example["input"], example.get("target"), extras=example)
        if not seen.scores and not seen.features:
            names, shape = ", ".join(metric.name for metric in measured), tuple(example["input"].shape)
            raise SpecError("metrics", [((), f"no figure of an image {shape} by {names}; choose others")])


def results(
    entity: Entity,
    *,
    limit: int | None = None,
    part: tuple[int, int] = (0, 1),
    measured: Sequence[Metric] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """The evaluation images one by one, at full size; needs what `restore` needs.

    What is drawn for an image, its degradation included, depends on its name alone. An image that cannot be read
    is left out with a warning.

    Args:
        limit: the first so many images only.
        part: (rank, world): every world-th image from rank on.
        measured: metrics, in place of the task's.
        options: for `restore`: steps, eta, sampler, generator.
    """
    task = entity[Task]
    records, (rank, world) = task.eval_records(), part
    for name, pair in task.examples(records, numbers=range(len(records))[:limit][rank::world]):
        output = restore(entity, pair["input"], extras=of(task, pair), **options)
        target = pair.get("target")
        seen = look(measured or task.metrics, output, target, source=pair["input"], extras=pair)
        yield Result(name, pair["input"], output, target, seen)


def sets(
    entity: Entity, *, limit: int | None = None, part: tuple[int, int] = (0, 1), **options: Any
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Outputs, as many as there are evaluation images, and those, both (N, C, *S) in [0, 1] at training's size.

    Outputs are drawn; or, of a task that has inputs, made from these, which come third, each under noise of its own.

    Args:
        part: (rank, world): the rank-th of world parts of them, of about one size; may be empty.

    Raises:
        DataError: no evaluation image can be read.
    """
    task, size = entity[Task], entity[Training].crop_size(entity[Task].ndim)
    found, (rank, world) = evaluation_crops(task, size, limit), part
    start, stop = (len(found) * n // world for n in (rank, rank + 1))
    targets, inputs = (torch.stack([example[role] for example in found])[start:stop] for role in ("target", "input"))
    if start == stop:
        return targets, targets, None if task.from_noise else inputs
    if task.from_noise:
        return sample(entity, stop - start, size=size, start=start, **options), targets, None
    outputs = []
    for first in range(start, stop, BATCH):
        batch = slice(first, min(first + BATCH, stop))
        own = {"generator": [seeded(0, 3, number) for number in range(batch.start, batch.stop)]} | options
        images = torch.stack([example["input"] for example in found[batch]])
        outputs.append(restore(entity, images, extras=stacked(task, found[batch]), **own))
    return torch.cat(outputs), targets, inputs


def compared(measured: Sequence[Metric], pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Parts of what `sets` gave, outputs and targets (N, C, *S) each, measured together.

    The figures of the set, and of images those that need no target.
    """
    seen, others = [], []
    for outputs, targets in pairs:
        seen += [look(measured, image) for image in outputs]
        others += [look(measured, target=image) for image in targets]
    return summary(measured, {f"{number:06d}": one for number, one in enumerate(seen)}, others)


def evaluate(
    entity: Entity,
    *,
    limit: int | None = None,
    metrics: Choice | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Mean scores over the evaluation images, with those of the untouched input beside them.

    `{"psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", ..., "images": how many, "ci": {"psnr": (low, high), ...},
    "per_image": {name: scores}}`; see `rddm.core.metrics.summary`.

    Of a task that knows no target for each output (generation, translation): the distance of a set of outputs from
    the evaluation images, `{"swd": ..., "images": how many, "per_image": {}}`.

    Args:
        limit: the first so many images only.
        metrics: a name, table or instance, or several, in place of the task's.
        options: for `restore` or `sample`: steps, eta, sampler and so on.

    Raises:
        DataError: no evaluation image can be read, or limit is below 1.
        SpecError: a metric is unknown, or compares with targets where there are none.
        RddmError: a file or a package that a metric needs is missing.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1, or None for all evaluation images; given {limit}")
    task = entity[Task]
    measured = task.metrics if metrics is None else chosen(metrics, targets=task.target_known)
    ready(task, measured)
    if not task.target_known:
        images, targets, _ = sets(entity, limit=limit, progress=progress, **options)
        return compared(measured, [(images, targets)])
    total = len(range(len(task.eval_records()))[:limit])
    found = tqdm(
        results(entity, limit=limit, measured=measured, **options),
        total=total,
        desc="evaluate",
        disable=not progress,
        leave=False,
    )
    return summary(measured, {result.name: result.seen for result in found})
