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
from rddm_detect_aug.filters import GRID, Filter, Tone, brightened

SEEN = 10  # draws of every training image that detectors are trained on
TUNING = 3  # the first of them, which filters are tuned on
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
    model or a filter makes of these. Filters bring images to the mean and standard deviation of clean training images,
    and take the parameter that is best when either half of the training images is told apart by a detector of the
    other half.
    """
    task, label = trainer[Task], label_of(trainer)
    train = examples(task, task.train_records(), SEEN)
    test = examples(task, task.eval_records(), draws)
    detector = trained(train.clean, train.positives, label)
    tone = (float(train.clean.mean()), float(train.clean.flatten(1).std(1).mean()))

    ways: dict[str, tuple[Detector, Tensor]] = {
        "clean images": (detector, test.clean.expand_as(test.inputs)),
        "spoilt images": (detector, test.inputs),
        "brightened": (detector, _filtered(partial(brightened, tone=tone), test.inputs)),
    }
    again: dict[str, tuple[Detector, Tensor]] = {"spoilt": (_again(train.inputs, train, label), test.inputs)}
    tuned: dict[str, float] = {}
    for name in GRID:
        plain, own = (_tuned(name, tone, train, retrained=retrained) for retrained in (False, True))
        (tuned[name], one), (tuned[AGAIN + name], other) = plain, own
        ways[name] = (detector, _filtered(one, test.inputs))
        again[name] = (_again(_filtered(other, train.inputs), train, label), _filtered(other, test.inputs))
    ways[OURS] = (detector, _restored(trainer, test))
    again[OURS] = (_again(_restored(trainer, train), train, label), ways[OURS][1])
    ways |= {AGAIN + name: way for name, way in again.items()}

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


def _tuned(name: str, tone: Tone, train: Images, *, retrained: bool) -> tuple[float, Filter]:
    function, grid = GRID[name]
    ((key, values),) = grid.items()
    tried: dict[float, Filter] = {value: partial(function, tone=tone, **{key: value}) for value in values}
    halves = [np.arange(len(train)) % 2 == half for half in (0, 1)]
    areas = {}
    for value, one in tried.items():
        images = _filtered(one, train.inputs[:TUNING])
        seen = images if retrained else train.clean[None]
        found = []
        for own, other in (halves, halves[::-1]):
            detector = trained(seen[:, own].flatten(0, 1), np.tile(train.positives[own], len(seen)), "half")
            found.append(wins(_scores(detector, images[:, other]), train.positives[other]).mean())
        areas[value] = np.mean(found)
    best = max(tried, key=lambda value: areas[value])
    return best, tried[best]


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
