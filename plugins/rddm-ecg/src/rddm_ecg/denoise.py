"""WFDB records denoised, from file to file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rddm import DataError, OutputError, Trainer
from rddm.plugin import Array, Task
from rddm_ecg.compare import scale
from rddm_ecg.units import resampled, to_mv, to_unit
from rddm_ecg.wfdb_files import UNITS, ecg_leads, header, millivolts, samples, write

TILE, OVERLAP = 8192, 1024  # samples of a long record that the network sees at once, and those of two tiles


def denoise(trainer: Trainer, file: Path, out: Path, *, leads: tuple[str, ...] = (), **options: Any) -> Path:
    """Write a copy of a WFDB record with its leads denoised, and return its header's path.

    Leads are resampled to the model's rate and back, so that annotations still fit. A model of one channel restores
    lead by lead, another takes as many leads at once, in their order. Units, names, comments and missing samples stay;
    signals that are no leads, or not among `leads`, are copied. Samples are 16 bit, 2 uV steps or finer up to 65 mV.

    Args:
        file: the record, with or without .hea.
        out: a folder, made if need be.
        options: for `restore`: steps, sampler and so on.

    Raises:
        DataError: the record cannot be read, or lacks a lead, or all samples of one that is restored with others.
        OutputError: the record is in `out` already, or cannot be written.
        ShapeError: a model of several channels gets another number of leads.
    """
    file = file.with_suffix("") if file.suffix in (".hea", ".dat") else file
    head = header(file)
    places = tuple(ecg_leads(head, leads).values())
    if any((out / file.name).with_suffix(suffix).exists() for suffix in (".hea", ".dat")):
        raise OutputError(f"{out / file.name} is there already; choose another folder for --out")
    mv = millivolts(file, places)
    groups = [[n] for n in range(len(places))] if trainer[Task].channels == 1 else [list(range(len(places)))]
    empty = np.atleast_1d(np.isnan(mv).all(axis=0))
    if lost := [head.sig_name[places[n]] for group in groups if len(group) > 1 for n in group if empty[n]]:
        raise DataError(f"lead {lost[0]} holds no sample, and the model needs all of its leads; name others by --lead")
    for group in groups:
        if not empty[group].any():  # else a lead that was not recorded
            mv[:, group] = _denoised(trainer, mv[:, group], head.fs, **options)
    signals = samples(file)
    signals[:, places] = mv / [UNITS[head.units[place].lower()] for place in places]
    said = [] if empty.all() else ["denoised by rddm-ecg"]
    head_of_copy = {"comments": [*head.comments, *said], "base_time": head.base_time}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise OutputError(f"{out} cannot be made: {cause}") from cause
    write(out, file.name, head.fs, signals, head.units, head.sig_name, **head_of_copy, base_date=head.base_date)
    return out / f"{file.name}.hea"


def _denoised(trainer: Trainer, mv: Array, own_rate: float, **options: Any) -> Array:
    # (N, C) in mV at a record's own rate
    cut, missing = scale(trainer), np.isnan(mv)
    filled = np.where(missing, np.nanmedian(mv, axis=0), mv)
    signal = resampled(filled, own_rate, cut.rate).T
    low, high = cut.limits
    if outside := float(np.mean((signal < low) | (signal > high))):
        warnings.warn(f"{outside:.2%} of samples are outside {low:g} .. {high:g} mV, and clipped", stacklevel=3)
    unit = torch.from_numpy(to_unit(signal, cut.limits).clip(0, 1)).float()
    restored = trainer.restore(unit, **({"tile": TILE, "overlap": OVERLAP} | options)).double()
    clean = resampled(to_mv(restored, cut.limits).numpy().T, cut.rate, own_rate)
    clean = np.pad(clean, ((0, max(0, len(mv) - len(clean))), (0, 0)), mode="edge")[: len(mv)]
    return np.where(missing, np.nan, clean)
