"""What sources of ECG records share: parameters, preparation of a signal, and windows of it as examples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from pydantic import Field, field_validator
from scipy.signal import butter, sosfiltfilt

from rddm.plugin import Array, DataError, Record, Records, Source
from rddm_ecg.units import MV, Limits, resampled, to_unit


class Cut(Source):
    """How records become windows."""

    start: float = Field(default=0, ge=0, description="seconds of each record that are left out at its beginning")
    stop: float | None = Field(default=None, gt=0, description="seconds at which to end; the record's end by default")
    window: float = Field(default=10, gt=0, description="seconds of an example; windows follow without overlap")
    rate: float = Field(default=360, gt=0, description="samples per second of the examples; records are resampled")
    highpass: float | None = Field(
        default=0.5, gt=0, description="Hz below which a record's own baseline wander is removed; null leaves it"
    )
    limits: Limits = MV
    gains: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, description="each window is given at each of these; below 0 it is upside down"
    )

    @field_validator("gains")
    @classmethod
    def _differ(cls, gains: tuple[float, ...]) -> tuple[float, ...]:
        if len({f"{gain:g}" for gain in gains}) < len(gains):
            raise ValueError("must differ, in six digits, for windows are named by them")
        return gains

    @property
    def length(self) -> int:
        """Samples of a window."""
        return round(self.window * self.rate)

    def starts(self, seconds: float) -> range:
        """The first sample of every window, of a record of that many seconds."""
        stop = min(seconds, self.stop or seconds)
        return range(round(self.start * self.rate), int(stop * self.rate + 1e-6) - self.length + 1, self.length)

    def prepared(self, mv: Array, own_rate: float) -> Array:
        """A signal (N, C) at the sampling rate `rate`, without its baseline wander.

        By a polyphase filter and a Butterworth high-pass of order 2, run forwards and backwards.
        """
        mv = resampled(mv, own_rate, self.rate)
        if self.highpass is not None:
            sos = butter(2, self.highpass, "highpass", fs=self.rate, output="sos")
            mv = sosfiltfilt(sos, mv, axis=0, padlen=min(len(mv) - 1, round(3 * self.rate)))
        return mv


class Windows(Records):
    """Windows of records as examples (L, C), each at every gain."""

    roles = frozenset({"target"})

    def __init__(self, cut: Cut, names: Sequence[str]) -> None:
        self.cut = cut
        self.names = [f"{name}x{gain:g}" if gain != 1 else name for name in names for gain in cut.gains]

    @abstractmethod
    def read(self, window: int) -> Array:
        """Window number `window`, (L, C) in mV. Raises DataError where it cannot be read."""

    def sizes(self) -> Sequence[tuple[int, ...]]:
        """The length of each, the same for all."""
        return [(self.cut.length,)] * len(self)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        window, gain = divmod(number, len(self.cut.gains))
        mv: np.ndarray[Any, Any] = self.read(window) * self.cut.gains[gain]
        low, high = self.cut.limits
        if not (mv.min() >= low and mv.max() <= high):  # also catches NaN
            span = f"{self.names[number]} spans {mv.min():.3g} .. {mv.max():.3g} mV"
            raise DataError(f"{span}; set wider limits than ({low:g}, {high:g})")
        return {"target": to_unit(mv, self.cut.limits).astype(np.float32)}
