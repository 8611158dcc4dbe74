"""Networks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rddm.core.component import Component

if TYPE_CHECKING:
    from torch import nn


class Backbone(Component):
    """A recipe for a network."""

    kind: ClassVar[str] = "backbone"
    ndim: Literal[1, 2, 3] = Field(default=2, description="1 for signals, 2 for images, 3 for volumes")

    @property
    def multiple(self) -> int:
        """Sizes that the network takes are multiples of this in every dimension; others are padded for it."""
        return 1

    @abstractmethod
    def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
        """A freshly initialised network `(x, time) -> y`.

        x is (B, in_chans, *S) in about [-1, 1], S of `ndim` sizes, all multiples of `multiple`; time is (B, times),
        each value in about [0, 1000]; y is (B, out_chans, *S), unbounded.
        """

    def initialise(self, network: nn.Module) -> None:
        """Give a network from `build` the weights that training starts from, where these are not random."""
