"""Underwater enhancement: pairs, and what the network sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.plugin import Degradation, Metric, Named, Record, Records, Source, Task, resolve, usual_metrics
from rddm_underwater.colour import LEVELS, compensated, lab, wavelets


def _metrics() -> tuple[Metric, ...]:
    return (*usual_metrics(), resolve(Metric, "uiqm"), resolve(Metric, "uciqe"))


class Underwater(Task):
    """I_in is the underwater image, I_0 the clean one; the network sees I_in, its compensated colours and wavelets.

    sees: I_in alone, as in the task `paired` (3 channels); `input+lab`, and L*a*b* of I_in after red-channel
    compensation and grey world (6); `input+lab+dwt`, and the Haar bands of that, its means over cells of 8 pixels
    and three levels of details of lightness (18). All means are over the image shown, in training
    over the crop, which should be large.

    All else is as in `paired`: sources of pairs, or of clean photographs, which `degradation` spoils. RGB only.

    Source: after WEDM (J. Imaging 2025, 11(4), 114), whose colour module works on the wavelets of LAB and conditions a
    residual diffusion; which bands it weighs, and how, is not repeated here.
    """

    name: Literal["underwater"] = "underwater"
    channels: Literal[3] = Field(default=3, description="RGB")
    ndim: Literal[2] = Field(default=2, description="images only")
    metrics: tuple[Named[Metric], ...] = Field(default_factory=_metrics, description="what is measured in evaluation")
    train: Named[Source] = Field(description="a folder, or a source")
    eval: Named[Source] = Field(description="a folder or source that training never sees")
    degradation: Named[Degradation] | None = Field(default=None, description="makes the inputs from clean images")
    augment: Literal["none", "flip", "dihedral"] = Field(default="flip", description="as in the task paired")
    sees: Literal["input", "input+lab", "input+lab+dwt"] = Field(
        default="input+lab+dwt", description="what the network sees beside x_t"
    )

    @property
    def conditions(self) -> int:
        return {"input": 3, "input+lab": 6, "input+lab+dwt": 9 + 3 * LEVELS}[self.sees]

    def train_records(self) -> Records:
        return self._paired.train_records()

    def eval_records(self) -> Records:
        return self._paired.eval_records()

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        return self._paired.example(record, crop, generator)

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        if self.sees == "input":
            return x_in
        colours = lab(compensated(((x_in + 1) / 2).clamp(0, 1)))
        return torch.cat([x_in, colours, *([wavelets(colours)] if self.sees == "input+lab+dwt" else [])], dim=1)

    @cached_property
    def _paired(self) -> Task:  # once: it is looked up among all that is installed
        own = {key: getattr(self, key) for key in ("train", "eval", "degradation", "augment")}
        return resolve(Task, {"name": "paired", **own})
