"""Filling holes in images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.errors import ShapeError
from rddm.core.kinds import Mask, Record, Records, Source, Task
from rddm.core.named import Named, resolve
from rddm.tasks._crops import Augment, cropped, opened


class Inpainting(Task):
    """I_in is the image with its hole filled with mid grey, 0 in [-1, 1]; by default the network sees x_t alone.

    The state starts from I_in and holds all that is known of the image, so nothing need stand beside it. The sources
    hold images; of pairs the targets are taken. Holes are drawn anew for every training crop, and for evaluation
    once for each image and always the same.

    `keep_known` puts known pixels back at every step: x0 = I_in and res = 0 there, and the result has them bit for
    bit. It needs the mask when it restores, and changes nothing in training, so any model can be asked for it. It is
    off by default, as published: then an image with grey holes is all that `restore` takes.

    Source: arXiv 2308.13712, image inpainting.
    """

    name: Literal["inpainting"] = "inpainting"
    holed: ClassVar[bool] = True
    ndim: Literal[2] = Field(default=2, description="images only")
    train: Named[Source] = Field(description="a folder, or a source")
    eval: Named[Source] = Field(description="a folder or source that training never sees")
    mask: Named[Mask] = Field(default_factory=lambda: resolve(Mask, "free-form"), description="the shape of the holes")
    sees: Literal["state", "input", "input+mask"] = Field(
        default="state",
        description="what the network sees: x_t alone; I_in, too; or both and the mask, 1 in the hole and 0 elsewhere",
    )
    keep_known: bool = Field(default=False, description="put known pixels back at every step; needs the mask")
    augment: Augment = Field(
        default="flip",
        description="flip: mirrored left to right half of the time; dihedral: all eight flips and turns",
    )

    @property
    def conditions(self) -> int:
        return {"state": 0, "input": self.channels, "input+mask": self.channels + 1}[self.sees]

    @property
    def extras(self) -> Mapping[str, int]:
        return {"mask": 1} if self.keep_known or self.sees == "input+mask" else {}

    def train_records(self) -> Records:
        return opened(self.train, "train")

    def eval_records(self) -> Records:
        return opened(self.eval, "eval")

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        (target,) = cropped([record["target"]], [self.channels], crop, self.augment, generator)
        height, width = target.shape[1:]
        mask = self.mask(height, width, generator)
        if mask.shape != (1, height, width) or not ((mask == 0) | (mask == 1)).all():
            raise ShapeError(
                f"mask {self.mask.name!r} must give (1, {height}, {width}) of 0 and 1;"
                f" gave {tuple(mask.shape)} from {mask.min():.4g} to {mask.max():.4g}"
            )
        return {"target": target, "input": torch.where(mask > 0, 0.5, target), "mask": mask}

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor | None:
        if self.sees == "state":
            return None
        return x_in if self.sees == "input" else torch.cat([x_in, extras["mask"]], dim=1)

    def known(self, extras: Mapping[str, Tensor]) -> Tensor | None:
        return extras["mask"] == 0 if self.keep_known else None
