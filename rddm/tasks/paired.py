"""Restoration learnt from pairs of a degraded and a clean image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Generator, Tensor

from rddm.core import images
from rddm.core.component import Model
from rddm.core.errors import DataError, ShapeError
from rddm.core.kinds import Degradation, Record, Records, Source, Task
from rddm.core.named import Named
from rddm.tasks._crops import Augment, cropped, described, opened
from rddm.tasks._histogram import equalised, equalised_batch


class Shown(Model):
    """A further image of each example that the network sees, such as the mask of a shadow."""

    role: str = Field(min_length=1, description="its name in the source: of a sub-folder, or an array")
    channels: int = Field(default=1, ge=1)
    range: Literal["unit", "signed"] = Field(default="unit", description="shown in [0, 1], or in [-1, 1]")


class Paired(Task):
    """I_in is the degraded image, I_0 the clean one; the network sees x_t, I_in, and what is to be `shown` beside.

    The sources hold pairs, or clean photographs only, which `degradation` then spoils: anew for every training
    crop, and for evaluation once and always the same way. Inputs alone can be evaluated, by metrics without reference.

    Images to be shown come from the source, in one size with the pair, and are cut and turned as it is; or from the
    degradation, as the mask of `shadow`. A mask is in [0, 1] by default, 0 where it says nothing, as published for
    shadow removal. The role `label` of a `mix` says which of its labels an example has.
    """

    name: Literal["paired"] = "paired"
    train: Named[Source] = Field(description="a folder, or a source")
    eval: Named[Source] = Field(description="a folder or source that training never sees")
    degradation: Named[Degradation] | None = Field(default=None, description="makes the inputs from clean images")
    augment: Augment = Field(
        default_factory=lambda given: "none" if given.get("ndim") == 1 else "flip",
        description="flip: mirrored left to right half of the time; dihedral: all eight flips and turns. By default"
        " flip; none of signals, which seldom run backwards",
    )
    shown: tuple[Shown, ...] = Field(default=(), description="further images that the network sees, in this order")
    equalise: bool = Field(
        default=False,
        description="I_in is the degraded image, the whole of it, with the histogram of each channel equalised, as is"
        " usual for low light; `restore` does it, too. With `degradation` it is the crop's histogram in training",
    )

    @field_validator("shown")
    @classmethod
    def _roles(cls, shown: tuple[Shown, ...]) -> tuple[Shown, ...]:
        roles = [one.role for one in shown]
        if len({"target", "input", "problems", *roles}) < 3 + len(roles):
            raise ValueError(f"roles must differ from each other, and from target, input and problems; given {roles}")
        return shown

    @model_validator(mode="after")
    def _labels(self) -> Self:
        shown, labels, own = self.extras.get("label"), self.train.labels, self.eval.labels
        if shown is not None and labels and (shown != len(labels) or own != labels):
            raise ValueError(
                f"shown has {shown} channels of the role label, train the labels {', '.join(labels)}, and eval"
                f" {', '.join(own) or 'none'}: give the label {len(labels)} channels, and eval the labels of train"
                f" (order: [{', '.join(labels)}], if it has not all of them)"
            )
        return self

    @property
    def conditions(self) -> int:
        return self.channels + sum(one.channels for one in self.shown)

    @property
    def extras(self) -> Mapping[str, int]:
        return {one.role: one.channels for one in self.shown}

    def train_records(self) -> Records:
        return self._checked(self.train, "train")

    def eval_records(self) -> Records:
        return self._checked(self.eval, "eval")

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        found = ((one, extras[one.role]) for one in self.shown)
        return torch.cat([x_in, *(image if one.range == "unit" else image * 2 - 1 for one, image in found)], dim=1)

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        made = self._made
        arrays = {role: record[role] for role in ("target", "input") if role in record}
        if self.equalise and "input" in arrays:
            arrays["input"] = equalised(images.as_channels(arrays["input"], self.channels))
        arrays |= {role: record[role] for role in self.extras if role not in made}
        if len({array.shape[:-1] for array in arrays.values()}) > 1:
            sizes = {role: array.shape[:-1] for role, array in arrays.items()}
            raise DataError(f"the images of an example must have one size; given {sizes}")
        channels = {role: self.extras.get(role, self.channels) for role in ("target", "input", *self.extras)}
        cut = cropped(list(arrays.values()), [channels[role] for role in arrays], crop, self.augment, generator)
        example = dict(zip(arrays, cut, strict=True))
        if self.degradation is not None:
            found = self.degradation.example(example["target"], generator)
            for role in ("input", *made):
                image, shape = found[role], (channels[role], *example["target"].shape[1:])
                fits = image.shape == shape and image.dtype == torch.float32
                if not fits or not (image.min() >= 0 and image.max() <= 1):
                    raise ShapeError(
                        f"degradation {self.degradation.name!r} must give {role!r} as {shape}, float32, in [0, 1];"
                        f" gave {tuple(image.shape)}, {image.dtype}, in [{image.min():.4g}, {image.max():.4g}]"
                    )
                example[role] = image
            example["input"] = self.prepare(example["input"][None])[0]
        return example

    def prepare(self, images: Tensor) -> Tensor:
        return equalised_batch(images) if self.equalise else images

    @property
    def _made(self) -> list[str]:
        # what is shown and comes from the degradation
        given = {} if self.degradation is None else self.degradation.extras
        return [role for role in self.extras if role in given]

    def _checked(self, source: Source, role: str) -> Records:
        records, where = opened(source, role, targets=role == "train"), described(source, role)
        if twice := sorted(records.roles & set(self._made)):
            raise DataError(f"{where} gives {twice}, and so does task.degradation; take them away from the source")
        if missing := sorted(set(self.extras) - records.roles - set(self._made)):
            raise DataError(
                f"{where} gives {sorted(records.roles)}, and task.shown wants {missing}, too; name them to the source:"
                f" {{name: folder, path: ..., extras: [{', '.join(missing)}]}}, or by `columns` if it has them"
            )
        if "input" in records.roles and self.degradation is not None:
            raise DataError(f"{where} has inputs of its own; take the degradation away: task.degradation=null")
        if "input" not in records.roles and self.degradation is None:
            raise DataError(
                f"{where} holds clean images only; set task.degradation (such as rain),"
                " or give pairs in the sub-folders input and target (in small letters)"
                + "; of inputs without targets: {name: folder, path: .., input: ., target: null}"
                * (role == "eval")
            )
        return records
