"""Images from noise alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Metric, Record, Records, Source, Task
from rddm.core.named import Named, resolve
from rddm.tasks._crops import Augment, cropped, opened


class Generation(Task):
    """I_in is 0, mid grey, so that I_res = -I_0; the network sees x_t alone.

    The sources hold images; of pairs the targets are taken. Evaluation draws as many images as there are to compare
    with. Source: arXiv 2308.13712, generation.
    """

    name: Literal["generation"] = "generation"
    target_known: ClassVar[bool] = False
    metrics: tuple[Named[Metric], ...] = Field(
        default_factory=lambda: (resolve(Metric, "swd"),),
        description="what is measured in evaluation; by the first of them the best model is kept",
    )
    from_noise: ClassVar[bool] = True
    train: Named[Source] = Field(description="a folder, or a source")
    eval: Named[Source] = Field(description="a folder or source that training never sees")
    augment: Augment = Field(
        default="none",
        description="flip: mirrored left to right half of the time; dihedral: all eight flips and turns. None by"
        " default: what is drawn looks like what was seen, mirrored letters included",
    )

    @property
    def conditions(self) -> int:
        return 0

    def train_records(self) -> Records:
        return opened(self.train, "train")

    def eval_records(self) -> Records:
        return opened(self.eval, "eval")

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> None:
        return None

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        (target,) = cropped([record["target"]], [self.channels], crop, self.augment, generator)
        return {"target": target, "input": torch.full_like(target, 0.5)}
