"""What is turned into what."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal
from zlib import crc32

from pydantic import Field, field_validator

from rddm.core.component import Component
from rddm.core.errors import DataError
from rddm.core.kinds.data import Record, Records
from rddm.core.kinds.metric import Metric, check_metrics, usual_metrics
from rddm.core.named import Named

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Task(Component):
    """What is turned into what: the data, and how a batch of it enters the process."""

    kind: ClassVar[str] = "task"

    target_known: ClassVar[bool] = True  # of every single output; else outputs and targets are compared as sets
    from_noise: ClassVar[bool] = False  # whether I_in is 0 for every image, so that images are drawn and none restored
    holed: ClassVar[bool] = False  # whether inputs are images with a hole of mid grey, which a "mask" cuts in any image
    channels: int = Field(default=3, ge=1, description="channels of the images, 1 for grey, 3 for RGB")
    ndim: Literal[1, 2, 3] = Field(default=2, description="1 for signals, 2 for images, 3 for volumes")
    metrics: tuple[Named[Metric], ...] = Field(
        default_factory=usual_metrics,
        description="what is measured in evaluation; by the first of them the best model is kept",
    )

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        if not metrics:
            raise ValueError("name at least one, such as psnr")
        check_metrics(metrics, targets=cls.target_known)
        return metrics

    @property
    @abstractmethod
    def conditions(self) -> int:
        """Channels that the network sees beside the state x_t."""

    @property
    def extras(self) -> Mapping[str, int]:
        """What sampling needs beside the input, such as {"mask": 1}: roles of an example, and their channels."""
        return {}

    @abstractmethod
    def train_records(self) -> Records:
        """The examples to train on."""

    @abstractmethod
    def eval_records(self) -> Records:
        """The examples to evaluate on, never seen in training."""

    @abstractmethod
    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        """One example as tensors (C, *S) in [0, 1]: "target", "input", and the extras (K, *S).

        All are cut to `crop` if it is given, else whole. One to evaluate on may lack the target; metrics without
        reference measure it.
        """

    def examples(
        self, records: Records, crop: tuple[int, ...] | None = None, numbers: Iterable[int] | None = None
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Records, or those of some `numbers`, as examples by name, the same ones every time; `rddm eval` sees these.

        What is drawn for one, its degradation included, depends on its name alone. One that cannot be read is left out
        with a warning.
        """
        from rddm.core.draws import seeded

        for index in range(len(records)) if numbers is None else numbers:
            name = records.names[index]
            try:
                example = self.example(records[index], crop, seeded(crc32(name.encode())))
            except DataError as error:
                warnings.warn(f"left out of evaluation: {name}: {error}", stacklevel=2)
            else:
                yield name, example

    @abstractmethod
    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor | None:
        """What the network sees beside x_t: (B, conditions, *S), in [-1, 1], or None.

        x_in is (B, C, *S) in [-1, 1]; extras are (B, K, *S) in [0, 1], by role.
        """

    def prepare(self, images: Tensor) -> Tensor:
        """What I_in is made of images (B, C, *S) in [0, 1] that are to be restored: of that shape and range.

        Inputs of examples are so already, and may come here again: done twice it must be done once.
        """
        return images

    def known(self, extras: Mapping[str, Tensor]) -> Tensor | None:
        """Where the input is the clean image already and must stay: (B, 1, *S), bool; None where nothing is known."""
        return None
