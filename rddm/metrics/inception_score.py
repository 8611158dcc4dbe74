"""Inception score of a set of images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Positive, SetMetric
from rddm.metrics._features import INCEPTION, features, identity, loaded
from rddm.metrics._weights import needed

LAYER = "logits_unbiased"


class InceptionScore(SetMetric):
    """exp(mean KL(p(y|x), p(y))) of Inception's classes, averaged over parts of the set; from 1 up, needs no targets.

    By torchmetrics and torch-fidelity; nothing is downloaded. The parts are always the same. Images are rounded to 8
    bits, grey ones repeated; NaN for fewer than two. Source: arXiv 1606.03498.

    Raises:
        DataError: the weights are not there, or of another network.
        RddmError: torchmetrics or torch-fidelity is not installed.
    """

    name: Literal["is"] = "is"
    reference: ClassVar[bool] = False
    file: Path | None = Field(default=None, description="the weights; by default of their usual name in $TORCH_HOME")
    splits: Positive = Field(default=10, description="parts of the set")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("is",)

    def prepare(self) -> None:
        needed("is", "torchmetrics.image.inception")
        loaded("is", INCEPTION, self.file, LAYER)

    def features(self, image: Tensor) -> Tensor:
        return features("is", INCEPTION, self.file, LAYER, image)

    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
        logits = torch.stack(list(outputs)).double()
        if len(logits) < 2:
            return {"is": math.nan}
        made = needed("is", "torchmetrics.image.inception").InceptionScore
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # that all features are kept, and of the deviation over one part
            torch.manual_seed(0)
            score = made(identity(logits.shape[1]), splits=self.splits)
            score.update(logits)
            return {"is": float(score.compute()[0])}
