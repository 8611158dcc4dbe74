"""The process and how one samples from it: schedules, samplers, solvers, grids, routes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from rddm.core.component import Component
from rddm.core.named import Named, resolve

if TYPE_CHECKING:
    from torch import Tensor

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
