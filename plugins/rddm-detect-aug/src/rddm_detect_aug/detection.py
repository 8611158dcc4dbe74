"""What a detector says of images."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_detect_aug.detector import Detector, read


class Detection(ImageMetric):
    """Whether a detector decides rightly: 1 or 0, whose mean is its accuracy; and the probability it gives.

        score = 1 / (1 + exp(-log-odds)),    detection = [score > 1/2] == [label is positive]

    `detection` is of images with a label only (the role `label`, plane `positive` of it), `detection_score` of all:
    among drawn images its mean tells how many look to the detector like what it detects.

    Raises:
        DataError: the file is not there, or no detector.
        ShapeError: the detector is of images of another size.
    """

    name: Literal["detection"] = "detection"
    reference: ClassVar[bool] = False
    file: Path = Field(description="the detector, which `rddm-detect-aug train-detector` writes")
    positive: int = Field(default=0, ge=0, description="the plane of the label that means positive")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("detection", "detection_score")

    def prepare(self) -> None:
        self._detector()

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        odds = self._detector().score(output)
        found = {"detection_score": 0.5 * (1 + math.tanh(odds / 2))}
        if "label" in extras:
            found["detection"] = float((odds > 0) == is_positive(extras["label"], self.positive))
        return found

    def _detector(self) -> Detector:
        path = Path(os.path.expanduser(self.file))
        return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)


def is_positive(label: Tensor, plane: int = 0) -> bool:
    """Whether a label (K, H, W) says positive."""
    return bool(label[plane].mean() > 0.5)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Detector:  # anew when the file has changed
    return read(path)
