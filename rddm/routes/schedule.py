"""Another schedule than the one of training."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.kinds import Route, Schedule
from rddm.core.named import Named
from rddm.core.process import Path


class Rescheduled(Route):
    """Sampling along another schedule, with its own start and gauge.

    A network that is told the index t needs one with as many steps as its own, and takes its t for its own; one
    that is told (abar T, bbar T) takes any. Source: arXiv 2308.13712, readjusting schedules at sampling time.
    """

    name: Literal["schedule"] = "schedule"
    timed: ClassVar[bool] = True
    schedule: Named[Schedule] = Field(description="what to sample along")

    def path(self, own: Path) -> Path:
        return self.schedule.path()
