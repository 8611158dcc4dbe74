"""Restoration learnt from pairs of a degraded and a clean image."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor

from rddm.core.errors import DataError, ShapeError
from rddm.core.kinds import Degradation, Record, Records, Source, Task
from rddm.core.named import Named
from rddm.tasks._crops import Augment, cropped, described, opened


class Paired(Task):
    """I_in is the degraded image, I_0 the clean one; the network sees x_t and I_in.

    The sources hold pairs, or clean photographs only, which `degradation` then spoils: anew for every training
    crop, and for evaluation once and always the same way.
    """

    name: Literal["paired"] = "paired"
    train: Named[Source] = Field(description="a folder, or a source")
    eval: Named[Source] = Field(description="a folder or source that training never sees")
    degradation: Named[Degradation] | None = Field(default=None, description="makes the inputs from clean images")
    augment: Augment = Field(
        default="flip",
        description="flip: mirrored left to right half of the time; dihedral: all eight flips and turns",
    )

    @property
    def conditions(self) -> int:
        return self.channels

    def train_records(self) -> Records:
        return self._checked(self.train, "train")

    def eval_records(self) -> Records:
        return self._checked(self.eval, "eval")

    def condition(self, x_in: Tensor) -> Tensor:
        return x_in

    def example(self, record: Record, crop: tuple[int, int] | None, generator: Generator) -> dict[str, Tensor]:
        target = record["target"]
        source = record.get("input", target)
        if target.shape[:2] != source.shape[:2]:
            raise DataError(f"input and target differ in size: {source.shape[:2]} and {target.shape[:2]}")
        pair = cropped((target, source), self.channels, crop, self.augment, generator)
        if self.degradation is not None:
            pair[1] = self.degradation(pair[0], generator)
            if pair[1].shape != pair[0].shape or not (pair[1].min() >= 0 and pair[1].max() <= 1):
                raise ShapeError(
                    f"degradation {self.degradation.name!r} must keep the shape {tuple(pair[0].shape)} and the"
                    f" range [0, 1]; gave {tuple(pair[1].shape)} in [{pair[1].min():.4g}, {pair[1].max():.4g}]"
                )
        return {"target": pair[0], "input": pair[1]}

    def _checked(self, source: Source, role: str) -> Records:
        records, where = opened(source, role), described(source, role)
        if "input" in records.roles and self.degradation is not None:
            raise DataError(f"{where} has inputs of its own; take task.degradation away")
        if "input" not in records.roles and self.degradation is None:
            raise DataError(
                f"{where} holds clean images only; set task.degradation (such as rain),"
                " or give pairs in the sub-folders input and target (in small letters)"
            )
        return records
