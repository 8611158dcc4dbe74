"""The kinds of component: what each must say, and nothing about how it is used.

Every class here opens one kind; a component derives from it, declares `name`, and fills in the abstract methods.
"""

from typing import Annotated

from pydantic import Field

from rddm.core.kinds.data import Degradation, Mask, Record, Records, Source
from rddm.core.kinds.metric import ImageMetric, Metric, SetMetric, check_metrics, usual_metrics
from rddm.core.kinds.network import Backbone
from rddm.core.kinds.sampling import Choice, Grid, Route, Sampler, Schedule, Solver
from rddm.core.kinds.task import Task

Positive = Annotated[int, Field(ge=1)]

__all__ = [
    "Backbone",
    "Choice",
    "Degradation",
    "Grid",
    "ImageMetric",
    "Mask",
    "Metric",
    "Positive",
    "Record",
    "Records",
    "Route",
    "Sampler",
    "Schedule",
    "SetMetric",
    "Solver",
    "Source",
    "Task",
    "check_metrics",
    "usual_metrics",
]
