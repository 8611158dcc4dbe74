"""Few real positives for a detector, and more of them by shifting, or drawn by a model that saw these few only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

import rddm
from rddm import Trainer
from rddm.plugin import Array, DataError, Task, images
from rddm_detect_aug.auc import wins
from rddm_detect_aug.detector import trained
from rddm_detect_aug.examples import Images, examples, label_of, pictures_as

DRAWS = 10  # of every training image
SHIFT = 2  # pixels


@dataclass(frozen=True)
class Outcome:
    """Mean area under the ROC curve on the evaluation images, of detectors that were trained with `real` positives."""

    real: int
    seed: int
    areas: dict[str, float]


def outcomes(
    generation: Trainer, detection: Trainer, real: list[int], *, seeds: int, added: int, draws: int, out: Path
) -> Iterator[Outcome]:
    """What is gained by `added` positives beside the real ones and all negatives, spoilt as the task `detection` says.

    For each number and seed that many positives are chosen, written to a folder, and a model of the spec of
    `generation` is trained on these alone, into `out`. What is there already is not trained again. Copies, under
    noise of their own, tell how much of a gain is that of more noise.
    """
    task, label = detection[Task], label_of(detection)
    train = examples(task, task.train_records(), DRAWS)
    test = examples(task, task.eval_records(), draws)
    positives = np.flatnonzero(train.positives)
    if max(real) > len(positives):
        raise DataError(f"there are {len(positives)} images of {label!r} to choose from; given --real {max(real)}")
    for count in real:
        for seed in range(seeds):
            chosen = np.sort(np.random.default_rng(seed).permutation(positives)[:count])
            real_images = train.clean[torch.from_numpy(chosen)]
            pictures = _model(generation, real_images, out / f"{count}-{seed}", seed).sample(added, seed=seed)
            copies = real_images[torch.arange(added) % count]
            moved = shifted(real_images, added, seed)
            own = Images(real_images, train.inputs[:, torch.from_numpy(chosen)], np.ones(len(chosen), bool))
            more = {
                "real": [],
                "real + copies": [pictures_as(task, copies, f"copy {seed}", DRAWS)],
                "real + shifted": [pictures_as(task, moved, f"moved {seed}", DRAWS)],
                "real + drawn": [pictures_as(task, pictures, f"drawn {seed}", DRAWS)],
            }
            areas = {name: _area([own, *parts], train, test, label) for name, parts in more.items()}
            yield Outcome(count, seed, areas)


def shifted(pictures: Tensor, count: int, seed: int) -> Tensor:
    """`count` copies of images (N, C, H, W) in turn, moved by up to 2 pixels each way, mirrored half of the time."""
    rng = np.random.default_rng(seed)
    height, width = pictures.shape[2:]
    wide = pad(pictures, (SHIFT,) * 4, mode="replicate")
    found = []
    for n in range(count):
        y, x = rng.integers(0, 2 * SHIFT + 1, 2)
        one = wide[n % len(pictures), :, y : y + height, x : x + width]
        found.append(one.flip(-1) if rng.random() < 0.5 else one)
    return torch.stack(found)


def _model(generation: Trainer, real: Tensor, folder: Path, seed: int) -> Trainer:
    run = folder / "run"
    if not run.is_dir():
        for n, image in enumerate(real):
            (folder / "real").mkdir(parents=True, exist_ok=True)
            images.write(folder / "real" / f"{n:03d}.png", images.to_array(image))
        table: dict[str, Any] = generation[rddm.Spec].model_dump(mode="json")
        table["task"]["train"] = {"name": "folder", "path": str(folder / "real")}
        table["training"]["seed"] = seed
        rddm.build(table).fit(run, progress=False)
    return rddm.load(run)


def _area(positives: list[Images], train: Images, test: Images, label: str) -> float:
    back = train.inputs[:, torch.from_numpy(~train.positives)]
    inputs = torch.cat([*(one.inputs.flatten(0, 1) for one in positives), back.flatten(0, 1)])
    wanted = torch.arange(len(inputs)) < len(inputs) - back.shape[0] * back.shape[1]
    detector = trained(inputs, wanted.numpy(), label)
    scores: Array = np.stack([detector.scores(row) for row in test.inputs])
    return float(wins(scores, test.positives).mean())
