"""ECG records in WFDB files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from rddm.plugin import Array, DataError
from rddm_ecg.sources._windows import Cut, Windows
from rddm_ecg.wfdb_files import ecg_leads, header, millivolts

MARGIN = 5.0  # seconds read on either side of a window, for the filters


class Wfdb(Cut):
    """Windows of the WFDB records (.hea and .dat) in a folder and below, of any sampling rate, in mV, uV or V.

    Every lead is an example of its own, (L, 1) in [0, 1], (mV - low) / (high - low); with `joint`, the leads are the
    channels of one signal (L, C). Windows are read when asked for, so that records may be long. Those with missing
    samples are left out of training and evaluation with a warning.

    Raises:
        DataError: no record is there, one cannot be read or lacks a lead, or no window is left.
    """

    name: Literal["wfdb"] = "wfdb"
    path: Path = Field(description="the folder")
    records: tuple[str, ...] = Field(default=(), description="names of records, such as 100; all by default")
    leads: tuple[str, ...] = Field(
        default=(), description="names of leads, such as MLII; all of each record by default"
    )
    joint: bool = Field(default=False, description="leads are channels of one signal; else examples of their own")

    def open(self) -> WfdbWindows:
        folder = Path(os.path.expanduser(self.path))
        found = sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.hea"))
        if missing := sorted(set(self.records) - set(found)):
            raise DataError(f"{self.path} has no records {missing}; it has {found[:20]}")
        pieces = [piece for name in self.records or found for piece in self._pieces(folder / name, name)]
        if not pieces:
            problem = (
                f"no window of {self.window:g} s in {len(found)} WFDB records" if found else "no WFDB record (.hea)"
            )
            raise DataError(f"{problem} in {self.path} (looked in {folder.absolute()})")
        return WfdbWindows(self, pieces)

    def _pieces(self, file: Path, name: str) -> list[Piece]:
        head = header(file)
        leads = ecg_leads(head, self.leads)
        groups = {"": tuple(leads.values())} if self.joint else {f"/{lead}": (n,) for lead, n in leads.items()}
        return [
            Piece(f"{name}{lead}/{start / self.rate:08.2f}s", file, channels, start)
            for lead, channels in groups.items()
            for start in self.starts(head.sig_len / head.fs)
        ]


@dataclass(frozen=True)
class Piece:
    """A window of some signals of a record."""

    name: str
    file: Path
    channels: tuple[int, ...]
    start: int  # in samples at the rate of the source


class WfdbWindows(Windows):
    """Windows of records in files."""

    def __init__(self, cut: Cut, pieces: list[Piece]) -> None:
        super().__init__(cut, [piece.name for piece in pieces])
        self.pieces = pieces

    def read(self, window: int) -> Array:
        piece, length, rate = self.pieces[window], self.cut.length, self.cut.rate
        head = header(piece.file)
        begin = piece.start / rate
        first = max(0, round((begin - MARGIN) * head.fs))
        last = min(head.sig_len, round((begin + self.cut.window + MARGIN) * head.fs))
        mv = millivolts(piece.file, piece.channels, first, last)
        own = slice(round(begin * head.fs) - first, round((begin + self.cut.window) * head.fs) - first)
        if np.isnan(mv[own]).any():
            raise DataError("samples are missing")
        mv = np.where(np.isnan(mv), np.nanmedian(mv, axis=0), mv)  # in the margins, which only the filters see
        skipped = round((begin - first / head.fs) * rate)
        mv = self.cut.prepared(mv, head.fs)[skipped : skipped + length]
        return np.pad(mv, ((0, length - len(mv)), (0, 0)), mode="edge")  # a last sample lost to rounding of rates
