"""Millivolts, the [0, 1] that models work in, and sampling rates."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field
from scipy.signal import resample_poly
from torch import Tensor

from rddm.plugin import Array

T = TypeVar("T", Array, Tensor)


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] < limits[1]:
        raise ValueError("must be (low, high) in mV with low < high")
    return limits


#: (low, high) in mV: what 0 and 1 stand for. Source, metrics and results must have the same.
Limits = Annotated[
    tuple[float, float],
    AfterValidator(_rising),
    Field(description="mV that 0 and 1 stand for, the same in sources and metrics"),
]
MV: tuple[float, float] = (-5.0, 5.0)  # the range of the MIT-BIH records' converters


def to_unit(mv: T, limits: tuple[float, float]) -> T:
    """(mv - low) / (high - low)."""
    low, high = limits
    return (mv - low) / (high - low)


def to_mv(unit: T, limits: tuple[float, float]) -> T:
    """low + (high - low) unit, the inverse of `to_unit`."""
    low, high = limits
    return low + (high - low) * unit


def resampled(signals: Array, rate: float, to: float) -> Array:
    """Signals (N, C) of one sampling rate at another, by SciPy's polyphase filter; their ratio is a fraction."""
    ratio = Fraction(to / rate).limit_denominator(10_000)
    found: Array = resample_poly(signals, ratio.numerator, ratio.denominator, axis=0, padtype="line")
    return found
