"""Images that a model draws, in a folder with a table of labels for the training of any detector."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rddm import OutputError, Trainer
from rddm.plugin import DataError, Records, Source, SpecError, Task, images, seeded

TABLE = "labels.csv"


@dataclass(frozen=True, eq=False)
class Drawn:
    """An image (C, H, W) in [0, 1], and where in it is what was drawn, in pixels."""

    image: Tensor
    x: int
    y: int
    width: int
    height: int


def drawn(trainer: Trainer, count: int, *, seed: int = 0, into: Source | None = None) -> Iterator[Drawn]:
    """Images of a model, number n from (seed, n) alone.

    A model of the task `generation` draws whole images. One of `inpainting` fills a hole of its task's mask, in the
    images of `into` by turns: trained on images of defects, it puts defects into clean ones.

    Raises:
        SpecError: the model's task is another.
        DataError: inpainting lacks `into`, or generation has it.
    """
    task = trainer[Task]
    if not task.from_noise and not task.holed:
        problem = f"{task.name!r} restores; take a model of the task generation or inpainting"
        raise SpecError("Spec", [(("task",), problem)])
    if task.holed != (into is not None):
        raise DataError(
            "a model of inpainting needs images to fill holes in; give --into FOLDER"
            if task.holed
            else f"a model of {task.name} draws whole images; leave --into out"
        )
    return _wholes(trainer, count, seed) if into is None else _filled(trainer, count, seed, into.open())


def write(pictures: Iterator[Drawn], out: Path, label: str) -> int:
    """A folder of PNG files and `labels.csv`: file, label and box (x, y, width, height) of each. Gives their number.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already; choose another folder for --out")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[object, ...]] = [("file", "label", "x", "y", "width", "height")]
    for n, one in enumerate(pictures):
        name = f"{n:06d}.png"
        images.write(out / name, images.to_array(one.image))
        rows.append((name, label, one.x, one.y, one.width, one.height))
    with (out / TABLE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return len(rows) - 1


def read(folder: Path, channels: int) -> tuple[list[Tensor], list[str]]:
    """The images (channels, H, W) and labels of a folder that `write` made, or of any with such a table.

    Raises:
        DataError: there is no table, it lacks file or label, or an image cannot be read.
    """
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names, labels = [row["file"] for row in rows], [row["label"] for row in rows]
    except (OSError, KeyError, csv.Error, UnicodeDecodeError) as cause:
        raise DataError(f"{folder / TABLE} must be a table with the columns file and label: {cause!r}") from cause
    found = [images.as_channels(images.read(folder / name), channels) for name in names]
    return [images.to_tensor(array) for array in found], labels


def _wholes(trainer: Trainer, count: int, seed: int) -> Iterator[Drawn]:
    for image in trainer.sample(count, seed=seed):
        yield Drawn(image, 0, 0, image.shape[-1], image.shape[-2])


def _filled(trainer: Trainer, count: int, seed: int, clean: Records) -> Iterator[Drawn]:
    task = trainer[Task]
    for n in range(count):
        generator = seeded(seed, n)
        example = task.example(clean[n % len(clean)], None, generator)
        beside = {role: example[role] for role in task.extras}
        image = trainer.restore(example["input"], extras=beside, generator=generator)
        hole = example["mask"][0] > 0.5
        ys, xs = hole.any(1).nonzero(), hole.any(0).nonzero()
        x, y = int(xs.min()), int(ys.min())
        image = image.where(hole, example["target"])
        yield Drawn(image, x, y, int(xs.max()) - x + 1, int(ys.max()) - y + 1)
