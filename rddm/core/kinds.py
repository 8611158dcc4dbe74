"""The kinds of component: what each must say, and nothing about how it is used.

Every class here opens one kind; a component derives from it, declares `name`, and fills in the abstract methods.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from rddm.core.component import Component
from rddm.core.named import Named, resolve

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor, nn

    from rddm.core.heads import Target
    from rddm.core.process import Node, Path, Prediction


class Schedule(Component):
    """When the residual and the noise enter: the coefficients of the forward process."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def path(self) -> Path:
        """The process as float64 tables; row 0 is the clean image."""


class Solver(Component):
    """How a prediction becomes the next, earlier state.

    `memory` is whatever a multistep solver keeps from one step to the next: None before the first step, passed in
    and handed back, never stored on the solver. `predict` may be called more than once a step.
    """

    kind: ClassVar[str] = "solver"

    @abstractmethod
    def step(
        self,
        x: Tensor,
        now: Node,
        to: Node,
        predict: Callable[[Tensor, Node], Prediction],
        draw: Callable[[], Tensor],
        eta: float,
        memory: Any,
    ) -> tuple[Tensor, Prediction, Any]:
        """The state (B, C, *S) at `to`, the prediction at `now` it rests on, and the memory.

        Args:
            x: state at `now`.
            predict: the clipped prediction for a state at a node; each call costs one network evaluation.
            draw: fresh standard normal noise, shaped like x.
            eta: share of the posterior's variance that is drawn anew, in [0, 1].
        """


class Grid(Component):
    """Which of a path's times sampling visits."""

    kind: ClassVar[str] = "grid"

    truncated: ClassVar[bool] = False  # whether it may start below T or end above 0, as some published samplers do
    exact: ClassVar[bool] = False  # whether its times are taken as they are, though a route's corner be none of them

    @abstractmethod
    def times(self, path: Path, steps: int) -> list[int]:
        """Falling integer times from T to 0, steps + 1 of them; a grid with a number of its own ignores `steps`."""


class Route(Component):
    """The curve in the (abar, bbar) plane along which sampling goes, where it is not the one of training."""

    kind: ClassVar[str] = "route"

    timed: ClassVar[bool] = False  # whether its t may stand for training's, as that of another schedule does

    @abstractmethod
    def path(self, own: Path) -> Path:
        """The path to sample along, by a network that was trained along `own`."""


class Sampler(Component):
    """What the network predicts, and how an image is sampled from that: the paper's sampling method (SM)."""

    kind: ClassVar[str] = "sampler"

    steps: int = Field(default=5, ge=1, description="sampling steps, 1 .. T")
    eta: float = Field(default=0.0, ge=0, le=1, description="share of the posterior variance drawn anew")
    solver: Named[Solver] = Field(default_factory=lambda: resolve(Solver, "first-order"))
    grid: Named[Grid] = Field(default_factory=lambda: resolve(Grid, "uniform"), description="the times visited")
    route: Named[Route] | None = Field(default=None, description="another way than the one of training")
    clip: Literal["x0", "residual", "none"] = Field(
        default="x0",
        description="what is clipped to [-1, 1] at every step: the predicted clean image (over hundreds of steps with"
        " the solver posterior, whose noise follows it); the residual, as published checkpoints were sampled; or none",
    )
    clock: Literal["index", "path"] = Field(
        default="index",
        description="time that a network is told: t, or (abar_t T, bbar_t T)",
    )
    nets: Literal[1, 2] = Field(default=1, description="one network with all heads, or one for each head")

    learnt: ClassVar[tuple[str, ...]] = ()  # names of the fields that training fills in
    bound: ClassVar[bool] = False  # whether targets follow from more of the path than the node, as its slope at it

    @property
    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """Names of what the network predicts; samplers that share a head share its name. Mostly a class variable."""

    @property
    def choice(self) -> Choice | None:
        """What training has to find out before it begins; None for a sampler that is settled."""
        return None

    @abstractmethod
    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        """What each head predicts at a node of the path, by its name, as weights (p, q, r) of I_0, I_in and eps."""


@dataclass(frozen=True)
class Choice:
    """An objective that is still open: one of two methods, each of one head, which training selects."""

    methods: tuple[Sampler, Sampler]  # the first is chosen where lambda ends above 1/2, the second below
    delta: float  # distance of lambda from 1/2 that decides
    lr: float  # learning rate of lambda
    min_steps: int  # no decision before
    max_steps: int  # no selection after
    decide: Callable[[int, int, float, str], Sampler]  # the sampler, given the method's index, step, lambda and why


class Backbone(Component):
    """A recipe for a network."""

    kind: ClassVar[str] = "backbone"

    @property
    def multiple(self) -> int:
        """Heights and widths that the network takes are multiples of this; others are padded for it."""
        return 1

    @abstractmethod
    def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
        """A freshly initialised network `(x, time) -> y`.

        x is (B, in_chans, *S) in about [-1, 1] with every size a multiple of `multiple`; time is (B, times), each
        value in about [0, 1000]; y is (B, out_chans, *S), unbounded.
        """


#: One example as the source has it: arrays (H, W, C), uint8, uint16 or float in [0, 1], by role ("target", "input").
Record = Mapping[str, "np.ndarray[Any, Any]"]


class Records(Sequence[Record]):
    """The examples of an opened source, read one by one when asked for."""

    names: Sequence[str]  # of each example, unique, stable from run to run: what results are matched by
    roles: frozenset[str]  # what each record holds

    @abstractmethod
    def sizes(self) -> Sequence[tuple[int, int] | None]:
        """(height, width) of every example, without reading its pixels where the format allows; None if unreadable."""


class Source(Component):
    """Where examples come from. In a spec a plain path stands for the folder of that name."""

    kind: ClassVar[str] = "source"

    @abstractmethod
    def open(self) -> Records:
        """The examples. Raises DataError where there are none, or they do not match."""

    @classmethod
    def shorthand(cls, value: object) -> object:
        return {"name": "folder", "path": str(value)} if isinstance(value, str | FilePath) else value


class Degradation(Component):
    """A physical model of how clean images become bad ones."""

    kind: ClassVar[str] = "degradation"

    @abstractmethod
    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        """A degraded copy of one image (C, H, W) in [0, 1], same shape and range, any C.

        All randomness comes from `generator` (on the CPU): equal seeds give equal images.
        """


class Mask(Component):
    """The shape of the holes in images."""

    kind: ClassVar[str] = "mask"

    @abstractmethod
    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        """A mask (1, height, width), float32: 1 in the hole, 0 where the image is known.

        All randomness comes from `generator` (on the CPU): equal seeds give equal masks.
        """


class Task(Component):
    """What is turned into what: the data, and how a batch of it enters the process."""

    kind: ClassVar[str] = "task"

    target_known: ClassVar[bool] = True  # of every single output; else outputs and targets are compared as sets
    from_noise: ClassVar[bool] = False  # whether I_in is 0 for every image, so that images are drawn and none restored
    channels: int = Field(default=3, ge=1, description="channels of the images, 1 for grey, 3 for RGB")

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
    def example(self, record: Record, crop: tuple[int, int] | None, generator: Generator) -> dict[str, Tensor]:
        """One example as tensors (C, H, W) in [0, 1]: "target", "input", and the extras (K, H, W).

        All are cut to `crop` if it is given, else whole.
        """

    @abstractmethod
    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor | None:
        """What the network sees beside x_t: (B, conditions, *S), in [-1, 1], or None.

        x_in is (B, C, *S) in [-1, 1]; extras are (B, K, *S) in [0, 1], by role.
        """

    def known(self, extras: Mapping[str, Tensor]) -> Tensor | None:
        """Where the input is the clean image already and must stay: (B, 1, *S), bool; None where nothing is known."""
        return None


Positive = Annotated[int, Field(ge=1)]
