"""WFDB records as voltages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rddm import OutputError
from rddm.plugin import Array, DataError

with warnings.catch_warnings():  # wfdb calls pandas, here and as it writes, in a way that pandas 3.1 deprecates
    warnings.simplefilter("ignore")
    import wfdb  # type: ignore[import-untyped]

UNITS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}  # in mV; a signal in any other unit is no ECG
BROKEN = (OSError, ValueError, IndexError, KeyError, TypeError)  # what wfdb raises for files that are none


def header(file: Path) -> Any:
    """The header of a record, whose file is named without its ending.

    Raises:
        DataError: it cannot be read, or does not say signals, units, length and sampling rate.
    """
    try:
        head = wfdb.rdheader(str(file))
    except BROKEN as cause:
        raise DataError(f"{file}.hea cannot be read as a WFDB header: {cause}") from cause
    if not (getattr(head, "units", None) and head.sig_name and head.sig_len and head.fs):
        raise DataError(f"{file}.hea must say signals, units, length and sampling rate of a record of one segment")
    return head


def ecg_leads(head: Any, wanted: tuple[str, ...] = ()) -> dict[str, int]:
    """The places of the wanted leads by name, in that order, or of all signals whose unit is a voltage.

    Raises:
        DataError: a wanted one is missing or has another unit, or none is there.
    """
    found = {lead: n for n, lead in enumerate(head.sig_name) if head.units[n].lower() in UNITS}
    if missing := [lead for lead in wanted if lead not in found]:
        raise DataError(f"record {head.record_name} has no leads {missing} in mV, uV or V; it has {list(found)}")
    if not found:
        raise DataError(f"record {head.record_name} has no signal in mV, uV or V; its units are {head.units}")
    return {lead: found[lead] for lead in wanted or found}


def samples(file: Path, channels: tuple[int, ...] | None = None, first: int = 0, last: int | None = None) -> Array:
    """Samples first .. last - 1 of signals of a record, (N, C) in their units, NaN where missing.

    Raises:
        DataError: the record cannot be read.
    """
    try:
        record = wfdb.rdrecord(str(file), sampfrom=first, sampto=last, channels=channels and list(channels))
    except BROKEN as cause:
        raise DataError(f"{file} cannot be read as a WFDB record: {cause}") from cause
    found: Array = record.p_signal
    return found


def millivolts(file: Path, channels: tuple[int, ...], first: int = 0, last: int | None = None) -> Array:
    """As `samples`, of leads, in mV."""
    units = header(file).units
    mv: Array = samples(file, channels, first, last) * np.array([UNITS[units[channel].lower()] for channel in channels])
    return mv


def write(
    folder: Path, name: str, rate: float, signals: Array, units: Sequence[str], names: Sequence[str], **head: Any
) -> None:
    """Write a record of signals (N, C) in their units, 16 bits a sample, NaN where missing, into an existing folder.

    Raises:
        OutputError: it cannot be written.
    """
    # wfdb's own choice of gain and baseline fails for signals without a sample
    known = np.where(np.isnan(signals).all(axis=0), 0.0, signals)
    low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    gain = 65_000 / np.where(high > low, high - low, 1.0)
    baseline = np.round(-gain * (low + high) / 2).astype(int)
    given = {"units": list(units), "sig_name": list(names), "p_signal": signals, "fmt": ["16"] * len(names)}
    given |= {"adc_gain": gain.tolist(), "baseline": baseline.tolist()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wfdb.wrsamp(name, rate, write_dir=str(folder), **given, **head)
    except BROKEN as cause:
        raise OutputError(f"{folder / name} cannot be written: {cause}") from cause
