"""A model beside classical methods, in figures and in a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rddm.plugin import ImageMetric, Records, Task, images
from rddm_pansharpen.classical import METHODS
from rddm_pansharpen.fuse import source_of
from rddm_pansharpen.metrics.ergas import ERGAS
from rddm_pansharpen.metrics.q2n import Q2n
from rddm_pansharpen.metrics.q_index import QIndex
from rddm_pansharpen.metrics.qnr import QNR
from rddm_pansharpen.metrics.sam import SAM

OURS = "rddm"
Table = dict[str, dict[str, float]]


def reduced(trainer: Any, **options: Any) -> Table:
    """SAM, ERGAS, Q, Q2n and QNR of every method, means over the evaluation tiles; the target's own come last.

    Args:
        options: for `restore`: steps, tile, progress and so on.
    """
    source = source_of(trainer)
    qnr = QNR(ratio=source.ratio, pan_mtf=source.pan_mtf)
    metrics = (SAM(), ERGAS(ratio=source.ratio), QIndex(), Q2n(), qnr)
    return _table(trainer, trainer[Task].eval_records(), metrics, **options)


def full(trainer: Any, **options: Any) -> Table:
    """QNR and its distortions at the sensor's full resolution, where no target is; empty where PAN is simulated."""
    source = source_of(trainer)
    if isinstance(source.pan, tuple):
        return {}
    records = source.model_copy(update={"resolution": "full"}).open()
    return _table(trainer, records, (QNR(ratio=source.ratio, pan_mtf=source.pan_mtf),), **options)


def fused(trainer: Any, example: Mapping[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """The images (C, H, W) in [0, 1] that each method makes of an example, the model's last."""
    source = source_of(trainer)
    up, pan = (example[role].permute(1, 2, 0).double().numpy() for role in ("input", "pan"))
    made = {name: np.clip(method(up, pan, source.ratio, source.pan_mtf), 0, 1) for name, method in METHODS.items()}
    found = {name: torch.from_numpy(image).permute(2, 0, 1).float() for name, image in made.items()}
    return found | {OURS: trainer.restore(example["input"], extras={"pan": example["pan"]}, **options)}


def picture(trainer: Any, file: Path, *, size: int = 96, enlarge: int = 3, **options: Any) -> None:
    """Write PAN, each method's image and the target, the first three bands of the first evaluation tile's centre.

    All are stretched alike, to 1 and 99 percent of the target's values.
    """
    task = trainer[Task]
    _, example = next(task.examples(task.eval_records()))
    shown = {"PAN": example["pan"], **fused(trainer, example, **options), "target": example["target"]}
    height, width = (min(size, side) for side in example["target"].shape[1:])
    top, left = ((have - want) // 2 for have, want in zip(example["target"].shape[1:], (height, width), strict=True))
    low, high = (example["target"][:3].flatten(1).quantile(share, dim=1)[:, None, None] for share in (0.01, 0.99))
    columns = (len(shown) + 1) // 2
    sheet = Image.new("RGB", (columns * (width * enlarge + 4), 2 * (height * enlarge + 22)), "white")
    font = ImageFont.load_default(size=14)
    for place, (name, image) in enumerate(shown.items()):
        cut = image[:3, top : top + height, left : left + width]
        ends = (low, high) if len(cut) == len(low) else cut.flatten().quantile(torch.tensor([0.01, 0.99]))
        pixels = images.to_array(((cut - ends[0]) / (ends[1] - ends[0])).clamp(0, 1))
        pane = Image.fromarray(images.as_channels(pixels, 3)).resize(
            (width * enlarge, height * enlarge), Image.Resampling.NEAREST
        )
        x, y = place % columns * (width * enlarge + 4), place // columns * (height * enlarge + 22)
        sheet.paste(pane, (x, y + 20))
        ImageDraw.Draw(sheet).text((x + 2, y + 2), name, fill="black", font=font)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


def _table(trainer: Any, records: Records, metrics: Sequence[ImageMetric], **options: Any) -> Table:
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _, example in trainer[Task].examples(records):
        target = {"target": example["target"]} if "target" in example else {}
        for name, image in {**fused(trainer, example, **options), **target}.items():
            for metric in metrics:
                for key, value in metric.measure(image, example.get("target", image), example).items():
                    scores[name][key].append(value)
    return {name: {key: float(np.mean(values)) for key, values in found.items()} for name, found in scores.items()}
