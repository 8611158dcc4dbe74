"""Training finds out whether the network predicts the residual or the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rddm.core.errors import SpecError
from rddm.core.heads import Target
from rddm.core.kinds import Choice, Positive, Sampler
from rddm.core.named import resolve
from rddm.core.process import Node, Path

METHODS: tuple[Literal["sm-res"], Literal["sm-n"]] = ("sm-res", "sm-n")


class Auto(Sampler):
    """AOSA, automatic objective selection: SM-Res or SM-N, as a weight lambda decides that is learnt at the start.

    One output o is trained for both objectives, mixed by lambda, which starts at 0.5:

        I_res^ = lambda o + (1 - lambda) f_eps->res(o),     eps^ = lambda f_res->eps(o) + (1 - lambda) o
        L = lambda |I_res - I_res^| + (1 - lambda) |eps - eps^|

    At |lambda - 0.5| >= delta the network starts afresh and is trained for `training.steps` steps: by SM-Res if
    lambda > 0.5, else by SM-N. Before that there is nothing to sample from; afterwards it is the method that it names,
    and the spec says which, when and why. `selection.jsonl` in the run folder has lambda at every step.

    A slow lambda (the default cannot decide before step 125) waits for what the network learns better; a fast one
    decides by the sizes of the targets before anything is learnt: small residuals for SM-Res, large ones for SM-N.
    Source: arXiv 2308.13712, Algorithm 5-1.

    Raises:
        SpecError: min_steps is above max_steps; or it is sampled from before it has decided.
    """

    name: Literal["auto"] = "auto"
    nets: Literal[1] = 1
    delta: float = Field(default=0.01, gt=0, le=0.5, description="distance of lambda from 0.5 that decides")
    lambda_lr: float = Field(
        default=8e-5, gt=0, description="learning rate of lambda, about its largest move in a step"
    )
    min_steps: Positive = Field(default=100, description="steps before which nothing is decided")
    max_steps: Positive = Field(default=1000, description="steps after which the side that lambda is on decides")
    decision: Literal["sm-res", "sm-n"] | None = Field(default=None, description="filled in by training")
    decided_at: Positive | None = Field(default=None, description="filled in by training: the step of the decision")
    decided_lambda: float | None = Field(default=None, ge=0, le=1, description="filled in by training: lambda there")
    reason: str | None = Field(default=None, description="filled in by training: why")
    learnt: ClassVar[tuple[str, ...]] = ("decision", "decided_at", "decided_lambda", "reason")

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps must be at most max_steps, {self.max_steps}; it is {self.min_steps}")
        return self

    @property
    def heads(self) -> tuple[str, ...]:
        return ("undecided",) if self.decision is None else resolve(Sampler, self.decision).heads

    @property
    def choice(self) -> Choice | None:
        if self.decision is not None:
            return None
        first, second = (resolve(Sampler, method) for method in METHODS)
        return Choice((first, second), self.delta, self.lambda_lr, self.min_steps, self.max_steps, self._decided)

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        if self.decision is None:
            problem = "has not decided between sm-res and sm-n yet; fit it first, or name one of them"
            raise SpecError("sampler", [((self.name,), problem)])
        return resolve(Sampler, self.decision).targets(path, node)

    def _decided(self, number: int, step: int, weight: float, reason: str) -> Sampler:
        found = dict(zip(self.learnt, (METHODS[number], step, weight, reason), strict=True))
        return self.model_copy(update=found)
