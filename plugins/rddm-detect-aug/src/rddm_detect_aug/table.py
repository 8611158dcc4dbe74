"""Detection in images that are clean, spoilt, and restored in several ways."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rddm import Trainer
from rddm.plugin import Array, Task
from rddm_detect_aug.auc import Estimate, estimate, wins
from rddm_detect_aug.detector import Detector, trained
from rddm_detect_aug.examples import Images, examples, label_of
from rddm_detect_aug.filters import GRID, Filter, brightened

TUNING = 3  # draws of every training image that detectors and filters see spoilt
OURS, AGAIN = "rddm", "trained on "


@dataclass(frozen=True, eq=False)
class Row:
    """One way to detect, over test images and draws."""

    method: str
    psnr: float  # mean over images, dB; NaN for clean ones
    accuracy: float
    auc: Estimate
    below: Estimate | None  # area of `rddm` less this one, both with a detector trained alike: on clean images, or not


def table(trainer: Trainer, draws: int = 5) -> tuple[list[Row], dict[str, float]]:
    """Every way to detect on the evaluation images of a labelled task, and the tuned parameters of filters.

    The detector is trained on clean training images, but in rows "trained on ..": there on spoilt ones, or on what the
    model or the first filter makes of these. Filters bring images to the mean and standard deviation of clean training
    images, and take the parameter by which spoilt training images are told apart best.
    """
    task, label = trainer[Task], label_of(trainer)
    train = examples(task, task.train_records(), TUNING)
    test = examples(task, task.eval_records(), draws)
    detector = trained(train.clean, train.positives, label)
    filters, tuned = _tuned(detector, train)
    restored = {part: _restored(trainer, images) for part, images in (("train", train), ("test", test))}
    filtered = {name: _filtered(one, test.inputs) for name, one in filters.items()}
    first = next(iter(GRID))

    ways: dict[str, tuple[Detector, Tensor]] = {
        "clean images": (detector, test.clean.expand_as(test.inputs)),
        "spoilt images": (detector, test.inputs),
        **{name: (detector, images) for name, images in filtered.items()},
        OURS: (detector, restored["test"]),
        f"{AGAIN}spoilt": (_again(train.inputs, train, label), test.inputs),
        f"{AGAIN}{first}": (_again(_filtered(filters[first], train.inputs), train, label), filtered[first]),
        f"{AGAIN}{OURS}": (_again(restored["train"], train, label), restored["test"]),
    }
    scores = {name: _scores(one, images) for name, (one, images) in ways.items()}
    won = {name: wins(found, test.positives) for name, found in scores.items()}
    rows = [
        Row(
            name,
            _psnr(images, test.clean),
            float(np.mean((scores[name] > 0) == test.positives)),
            estimate(won[name]),
            None if name.removeprefix(AGAIN) == OURS else estimate(won[_ours(name)] - won[name]),
        )
        for name, (_, images) in ways.items()
    ]
    return rows, tuned


def _ours(name: str) -> str:
    return AGAIN + OURS if name.startswith(AGAIN) else OURS


def _tuned(detector: Detector, train: Images) -> tuple[dict[str, Filter], dict[str, float]]:
    tone = (float(train.clean.mean()), float(train.clean.flatten(1).std(1).mean()))
    found: dict[str, Filter] = {"brightened": partial(brightened, tone=tone)}
    tuned: dict[str, float] = {}
    for name, (function, grid) in GRID.items():
        ((key, values),) = grid.items()
        tried: dict[float, Filter] = {value: partial(function, tone=tone, **{key: value}) for value in values}
        areas = {
            value: wins(_scores(detector, _filtered(one, train.inputs)), train.positives).mean()
            for value, one in tried.items()
        }
        tuned[name] = max(tried, key=lambda value: areas[value])
        found[name] = tried[tuned[name]]
    return found, tuned


def _again(images: Tensor, train: Images, label: str) -> Detector:
    return trained(images.flatten(0, 1), np.tile(train.positives, len(images)), label)


def _restored(trainer: Trainer, images: Images) -> Tensor:
    return torch.stack([trainer.restore(row) for row in images.inputs])


def _filtered(one: Filter, inputs: Tensor) -> Tensor:
    return torch.stack([torch.stack([one(image) for image in row]) for row in inputs])


def _scores(detector: Detector, images: Tensor) -> Array:
    return np.stack([detector.scores(row) for row in images])


def _psnr(images: Tensor, clean: Tensor) -> float:
    error = (images - clean).square().flatten(2).mean(2)
    return float(-10 * error.log10().mean()) if error.min() > 0 else float("nan")
