"""What a task promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rddm.core.entity import Entity
from rddm.core.errors import RddmError
from rddm.core.kinds import Metric, Record, Sampler, Schedule, SetMetric, Task
from rddm.core.named import resolve
from rddm.core.systems.check import check as can_be_sampled
from rddm.testing._property import holds, near, readable, require, seeded, without_global_randomness

CROPS = {1: (40,), 2: (24, 24), 3: (8, 8, 8)}
SIZES = {1: (61,), 2: (33, 40), 3: (9, 10, 12)}


def record_of(task: Task, seed: int, size: tuple[int, ...] | None = None) -> dict[str, Any]:
    """A made-up record of noise, uint8: target, input and the task's extras, (*S, C)."""
    rng = np.random.default_rng(seed)
    channels = {"target": task.channels, "input": task.channels, **task.extras}
    size = size or SIZES[task.ndim]
    return {role: rng.integers(0, 256, (*size, count), dtype=np.uint8) for role, count in channels.items()}


def _examples(task: Task, record: Record | None) -> list[tuple[str, Any, Any]]:
    """(what it is, record, crop) for crops and wholes."""
    records = [record, record] if record is not None else [record_of(task, seed) for seed in (0, 1)]
    return [("a crop", records[0], CROPS[task.ndim]), ("a whole", records[1], None)]


def _roles(task: Task) -> dict[str, int]:
    return {"target": task.channels, "input": task.channels, **task.extras}


@holds(
    "task",
    'Return {"target": .., "input": .., and each role of extras}; images.to_tensor makes (C, *S) in [0, 1].',
)
def an_example_is_tensors_of_one_size_in_range(task: Task, *, record: Record | None = None) -> None:
    """example gives target, input and extras as float32 (C, *S) in [0, 1], cut to the crop, or whole without one.

    It is tried with `record`, or else with made-up images by the roles of the task.
    """
    for what, given, crop in _examples(task, record):
        found = task.example(given, crop, seeded(0))
        require(set(_roles(task)) <= set(found), f"{what} has {sorted(found)}, and needs {sorted(_roles(task))}")
        for role, channels in _roles(task).items():
            image = found[role]
            said = f"{role!r} of {what} is {tuple(image.shape)}, {image.dtype}"
            require(image.dtype == torch.float32 and image.ndim == 1 + task.ndim, f"{said}; ndim is {task.ndim}")
            require(len(image) == channels, f"{said}, and should have {channels} channels")
            size = crop or tuple(found["target"].shape[1:])
            require(tuple(image.shape[1:]) == size, f"{said}, and should be of size {size}")
            ends = f"{float(image.min()):.4g} .. {float(image.max()):.4g}"
            require(image.min() >= 0 and image.max() <= 1, f"{said}, and spans {ends}")


@holds("task", "Draw by torch with generator=generator, in one fixed order, and change nothing in the record.")
def an_example_follows_from_record_crop_and_generator(task: Task, *, record: Record | None = None) -> None:
    """Equal seeds give equal examples, whatever the global random states, which do not move; the record stays."""
    for what, given, crop in _examples(task, record):
        before = {role: np.array(given[role]) for role in given}
        with without_global_randomness(what):
            one, other = (task.example(given, crop, seeded(3)) for _ in range(2))
        same = all(torch.equal(one[role], other[role]) for role in _roles(task))
        require(same, f"two examples of one seed, {what}, differ")
        kept = all(np.array_equal(before[role], given[role]) for role in before)
        require(kept, f"the arrays of the record are changed, for {what}")


@holds("task", "A whole example has nothing to cut; do not resize, pad or round its size.")
def a_whole_example_has_the_size_of_its_record(task: Task, *, record: Record | None = None) -> None:
    """Without a crop, the target has the size of an image of the record."""
    given = record_of(task, 5) if record is None else record
    found = tuple(task.example(given, None, seeded(0))["target"].shape[1:])
    sizes = {tuple(given[role].shape[:-1]) for role in given}
    require(found in sizes, f"it is {found}, and the record's images are {sorted(sizes)}")


@holds("task", "condition must give as many channels as conditions says; None exactly where that is 0.")
def the_condition_has_the_channels_that_conditions_says(task: Task, *, record: Record | None = None) -> None:
    """condition gives (B, conditions, *S) in [-1, 1], typed like x_in, item by item, or None where conditions is 0."""
    _, given, crop = _examples(task, record)[0]
    examples = [task.example(given, crop, seeded(seed)) for seed in (0, 1, 2)]
    x_in = torch.stack([one["input"] for one in examples]) * 2 - 1
    extras = {role: torch.stack([one[role] for one in examples]) for role in task.extras}
    before = x_in.clone()
    found = task.condition(x_in, extras)
    require(torch.equal(x_in, before), "x_in is changed in place")
    if found is None or task.conditions == 0:
        require(
            found is None and task.conditions == 0,
            f"it is {found if found is None else 'a tensor'}, and conditions {task.conditions}",
        )
        return
    want = (3, task.conditions, *x_in.shape[2:])
    require(found.shape == want, f"it is {tuple(found.shape)}, not {want}")
    require(found.dtype == x_in.dtype, f"it is of {found.dtype}, and x_in of {x_in.dtype}")
    ends = f"{float(found.min()):.4g} .. {float(found.max()):.4g}"
    require(found.min() >= -1 and found.max() <= 1, f"it spans {ends}, and a network sees [-1, 1]")
    for n in range(3):
        alone = task.condition(x_in[n : n + 1], {role: part[n : n + 1] for role, part in extras.items()})
        require(alone is not None and torch.equal(alone[0], found[n]), f"item {n} of a batch differs from it alone")


@holds(
    "task", "known is a bool mask (B, 1, *S) of where the input is the clean image already; None where there is none."
)
def what_is_known_is_the_target(task: Task, *, record: Record | None = None) -> None:
    """Where known is true the input is the target, pixel by pixel."""
    for what, given, crop in _examples(task, record):
        example = task.example(given, crop, seeded(1))
        found = task.known({role: example[role][None] for role in task.extras})
        if found is None:
            continue
        want = (1, 1, *example["target"].shape[1:])
        require(
            found.shape == want and found.dtype == torch.bool, f"of {what} it is {tuple(found.shape)}, {found.dtype}"
        )
        same: Tensor = example["input"] == example["target"]
        require(same[found[0].expand_as(same)].all(), f"of {what}, input and target differ where known is true")


@holds("task", "prepare keeps shape and range, and leaves alone what it has made, or what example gives as input.")
def what_is_prepared_stays(task: Task, *, record: Record | None = None) -> None:
    """prepare keeps shape and range of images (B, C, *S) in [0, 1], and leaves the inputs of examples as they are."""
    _, given, crop = _examples(task, record)[0]
    example = task.example(given, crop, seeded(0))
    for role in ("input", "target"):
        image = example[role][None].clone()
        once = task.prepare(image)
        require(torch.equal(image, example[role][None]), f"the {role} is changed in place")
        require(once.shape == image.shape, f"the {role} {tuple(image.shape)} becomes {tuple(once.shape)}")
        require(once.min() >= 0 and once.max() <= 1, f"the {role} becomes {float(once.min())} .. {float(once.max())}")
        near(task.prepare(once), once, f"the {role} prepared twice", atol=1e-2)
        if role == "input":
            near(once, image, "the input of an example, prepared", atol=1e-2)


@holds(
    "task", "Set the class variables target_known and from_noise to what the examples are, and metrics that fit them."
)
def what_it_says_of_itself_is_so(task: Task, *, record: Record | None = None) -> None:
    """from_noise means that every input is mid grey, 0.5; without target_known, there is a metric of sets."""
    _, given, crop = _examples(task, record)[0]
    grey = bool((task.example(given, crop, seeded(0))["input"] == 0.5).all())
    require(grey or not task.from_noise, "from_noise is True, and the input is not 0.5 everywhere")
    require(task.metrics and all(isinstance(metric, Metric) for metric in task.metrics), f"metrics is {task.metrics!r}")
    sets = any(isinstance(metric, SetMetric) for metric in task.metrics)
    require(task.target_known or sets, "target_known is False, and no metric compares sets")


@holds("task", "Look at conditions, extras and condition(): sampling calls them as training does.")
def a_model_for_it_can_be_sampled(task: Task) -> None:
    """With the default schedule and sampler, and a network that predicts 0, sampling ends."""
    sampler = resolve(Sampler, {"name": "sm-res", "steps": 2})
    can_be_sampled(Entity((task, sampler, resolve(Schedule, "power").path())))


@holds(
    "task", "train_records and eval_records must give rddm.plugin.Records with what example reads, or raise DataError."
)
def its_records_make_examples(task: Task, *, data: bool = False) -> None:
    """With `data`, the first record that can be read, of either kind, makes an example; else this is left out."""
    if not data:
        return
    for way in ("train_records", "eval_records"):
        records = getattr(task, way)()
        require(len(records) > 0, f"{way} gives none")
        n, record = readable(records, 1, way)[0]
        try:
            found = task.example(record, None, seeded(0))
        except RddmError as error:
            require(False, f"number {n} of {way}: {error}")
        require(set(_roles(task)) <= set(found), f"number {n} of {way} makes {sorted(found)}")
