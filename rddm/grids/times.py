"""The user's own times."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from rddm.core.errors import SpecError
from rddm.core.kinds import Grid
from rddm.core.process import Path


class Times(Grid):
    """The times themselves, from T down to 0; their number decides the steps, whatever `steps` says.

    A route's corner that is none of them is cut: the step across it is a straight one.

    Raises:
        SpecError: they do not fall from step to step, or do not end at 0, the clean image; or, when sampling, they do
            not start at T, where the noise is.
    """

    name: Literal["times"] = "times"
    exact: ClassVar[bool] = True
    at: tuple[int, ...] = Field(min_length=2, description="such as [1000, 700, 300, 50, 0]")

    @field_validator("at")
    @classmethod
    def _falling(cls, at: tuple[int, ...]) -> tuple[int, ...]:
        if at[-1] != 0:
            raise ValueError("must end at 0, the clean image: anything above leaves noise or residual in the result")
        if any(later >= earlier for earlier, later in pairwise(at)):
            raise ValueError("must fall from each time to the next: a step goes to an earlier, cleaner state")
        return at

    def times(self, path: Path, steps: int) -> list[int]:
        if self.at[0] != path.T:
            problem = f"must start at T = {path.T}, where the state is all input and noise; given {self.at[0]}"
            raise SpecError("Spec", [(("sampler", "grid", "at"), problem)])
        return list(self.at)
