"""Where images come from, and how they are spoilt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, ClassVar

from rddm.core.component import Component

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor


#: One example as the source has it, by role ("target", "input", ..): images (H, W, C), signals (L, C) or volumes
#: (D, H, W, C), uint8, uint16 or float in [0, 1].
Record = Mapping[str, "np.ndarray[Any, Any]"]


class Records(Sequence[Record]):
    """The examples of an opened source, read one by one when asked for."""

    names: Sequence[str]  # of each example, unique, stable from run to run: what results are matched by
    roles: frozenset[str]  # what each record holds

    @abstractmethod
    def sizes(self) -> Sequence[tuple[int, ...] | None]:
        """The size of every example, (H, W) of an image, by its header where the format allows; None if unreadable."""

    @property
    def weights(self) -> Sequence[float] | None:
        """How often each example is drawn in training, in proportion; None where all are, once an epoch."""
        return None


class Source(Component):
    """Where examples come from. In a spec a plain path stands for the folder of that name."""

    kind: ClassVar[str] = "source"

    @abstractmethod
    def open(self) -> Records:
        """The examples. Raises DataError where there are none, or they do not match."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the planes of the role "label" stand for, of a source that has it."""
        return ()

    @classmethod
    def shorthand(cls, value: object) -> object:
        return {"name": "folder", "path": str(value)} if isinstance(value, str | FilePath) else value


class Degradation(Component):
    """A physical model of how clean images become bad ones."""

    kind: ClassVar[str] = "degradation"

    extras: ClassVar[Mapping[str, int]] = {}  # what it can show beside, such as {"mask": 1}, with the channels

    @abstractmethod
    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """A degraded copy of one image (C, H, W) in [0, 1], same shape and range, any C.

        All randomness comes from `generator` (on the CPU): equal seeds give equal images.
        """

    def example(self, clean: Tensor, generator: Generator) -> Mapping[str, Tensor]:
        """The degraded copy as "input", and by role the `extras` (K, H, W) in [0, 1] of the very same draw.

        One that has extras makes everything here, and gives the input alone when called.
        """
        return {"input": self(clean, generator)}


class Mask(Component):
    """The shape of the holes in images."""

    kind: ClassVar[str] = "mask"

    @abstractmethod
    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        """A mask (1, height, width), float32: 1 in the hole, 0 where the image is known.

        All randomness comes from `generator` (on the CPU): equal seeds give equal masks.
        """
