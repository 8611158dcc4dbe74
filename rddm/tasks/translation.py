"""Translation of images from one domain to another, learnt without pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.component import Model
from rddm.core.kinds import Metric, Record, Records, Source, Task
from rddm.core.named import Named, resolve
from rddm.tasks._crops import Augment, cropped, opened
from rddm.tasks._unpaired import Unpaired


class Domains(Model):
    """Images of two domains, of any number and size each."""

    source: Named[Source] = Field(description="a folder or source of images of the one domain")
    target: Named[Source] = Field(description="a folder or source of images of the other")


class Translation(Task):
    """I_in is an image of the one domain, I_0 any image of the other; the network sees x_t alone.

    The two have nothing to do with each other: every time that an image is used in training, its partner is drawn
    anew, and cropped and turned on its own. So what the network learns is how images of the target domain look; I_in
    shown beside the state would only teach it to find the residual, I_in minus some image, by subtraction. An epoch
    shows every image of I_in's domain once. Of sources with pairs the targets are taken.

    Evaluation translates as many inputs as the larger domain has images, and compares outputs and images of the target
    domain as sets. `direction: backward` turns all of it around.

    Source: arXiv 2308.13712, image-to-image translation.
    """

    name: Literal["translation"] = "translation"
    target_known: ClassVar[bool] = False
    metrics: tuple[Named[Metric], ...] = Field(
        default_factory=lambda: (resolve(Metric, "swd"),),
        description="what is measured in evaluation; by the first of them the best model is kept",
    )
    train: Domains = Field(description="{source: .., target: ..}, a folder or source each")
    eval: Domains = Field(description="{source: .., target: ..} that training never sees")
    direction: Literal["forward", "backward"] = Field(
        default="forward", description="forward: from source to target; backward: from target to source"
    )
    augment: Augment = Field(
        default="none",
        description="flip: mirrored left to right half of the time; dihedral: all eight flips and turns. None by"
        " default: outputs look like what was seen, mirrored letters included",
    )

    @property
    def conditions(self) -> int:
        return 0

    def train_records(self) -> Records:
        return Unpaired.any(*self._opened(self.train, "train"))

    def eval_records(self) -> Records:
        return Unpaired.in_turn(*self._opened(self.eval, "eval"))

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> None:
        return None

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        partner = int(torch.randint(len(record) - 1, (), generator=generator))
        found = {"target": record[f"target {partner}"], "input": record["input"]}
        return {
            role: cropped([array], [self.channels], crop, self.augment, generator)[0] for role, array in found.items()
        }

    def _opened(self, domains: Domains, role: str) -> tuple[Records, Records]:
        found = opened(domains.source, f"{role}.source"), opened(domains.target, f"{role}.target")
        return found if self.direction == "forward" else found[::-1]
