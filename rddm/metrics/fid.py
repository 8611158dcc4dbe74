"""Frechet distance of the features of two sets of images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import SetMetric
from rddm.metrics._features import INCEPTION, features, identity, loaded
from rddm.metrics._weights import needed


class FID(SetMetric):
    """|m1 - m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) of the means and covariances of the features of both sets: 0 if equal.

    "fid" is in the 2048 features of Inception as published, by torchmetrics and torch-fidelity; in those of another
    network it is "fd_" and its name, and no FID. Nothing is downloaded. Below some thousand images it is biased
    upwards: compare sets of equal number only, or take `kid`. Images are rounded to 8 bits, grey ones repeated; NaN for
    fewer than two. Source: arXiv 1706.08500.

    Raises:
        DataError: the weights are not there, or of another network.
        RddmError: torchmetrics or torch-fidelity is not installed.
    """

    name: Literal["fid"] = "fid"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    network: str = Field(default=INCEPTION, description="inception, or the name of a network of timm")
    file: Path | None = Field(default=None, description="its weights; by default of their usual name in $TORCH_HOME")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("fid" if self.network == INCEPTION else f"fd_{self.network}",)

    def prepare(self) -> None:
        needed("fid", "torchmetrics.image.fid")
        loaded("fid", self.network, self.file, "2048")

    def features(self, image: Tensor) -> Tensor:
        return features("fid", self.network, self.file, "2048", image)

    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
        sets = [torch.stack(list(images)).double() for images in (outputs, targets)]
        if min(map(len, sets)) < 2:
            return {self.keys[0]: math.nan}
        distance = needed("fid", "torchmetrics.image.fid").FrechetInceptionDistance(identity(sets[0].shape[1]))
        for real, images in enumerate(sets):
            distance.update(images, real=bool(real))
        return {self.keys[0]: float(distance.compute())}
