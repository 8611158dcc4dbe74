"""Noise as it was recorded."""

from __future__ import annotations

import os
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor

from rddm.plugin import DataError, Degradation
from rddm_ecg.degradations._mix import SNR, added
from rddm_ecg.units import resampled
from rddm_ecg.wfdb_files import ecg_leads, header, millivolts


def _part(part: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= part[0] < part[1] <= 1:
        raise ValueError("must be (begin, end) with 0 <= begin < end <= 1")
    return part


class RecordedNoise(Degradation):
    """Pieces of noise records in WFDB files, at a stated signal to noise ratio, added as by `ecg-noise`.

    Each example takes a piece of every record from a random moment; a lead, one of the record's signals at random.
    Records are resampled to `rate`, and their mean is taken off. Made for the MIT-BIH Noise Stress Test Database
    (Moody, Muldrow, Mark, "A noise stress test for arrhythmia detectors", Computers in Cardiology 1984), whose
    records bw, em and ma are baseline wander, electrode motion and muscle artefact.

    `part` keeps noise of training and evaluation apart: train on (0, 0.5), evaluate with task.degradation.part=[0.5,1].

    Raises:
        SpecError: part or snr is out of range.
        DataError: a record is missing or unreadable, or its part is shorter than a signal.
    """

    name: Literal["ecg-recorded-noise"] = "ecg-recorded-noise"
    path: Path = Field(description="the folder")
    records: tuple[str, ...] = Field(default=("bw", "em", "ma"), min_length=1, description="names of records")
    part: Annotated[tuple[float, float], AfterValidator(_part)] = Field(
        default=(0.0, 1.0), description="the share of each record that is used, (begin, end)"
    )
    snr: SNR = (0.0, 10.0)
    rate: float = Field(default=360, gt=0, description="samples per second of the signals, as in the source")

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        return added(
            clean, [self._piece(one, tuple(clean.shape), generator) for one in self.records], self.snr, generator
        )

    def _piece(self, name: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
        noise = _noise(Path(os.path.expanduser(self.path)) / name, self.rate)
        begin, end = (round(share * noise.shape[-1]) for share in self.part)
        spare = end - begin - shape[-1]
        if spare < 0:
            have, want = (n / self.rate for n in (end - begin, shape[-1]))
            raise DataError(
                f"noise record {name} in {self.path} has {have:.1f} s in part {self.part}; {want:.1f} s needed"
            )
        first = begin + int(torch.randint(spare + 1, (), generator=generator))
        leads = torch.randint(len(noise), (prod(shape[:-1]),), generator=generator)
        return noise[leads, first : first + shape[-1]].reshape(shape)


@lru_cache(maxsize=16)
def _noise(file: Path, rate: float) -> Tensor:
    # all signals of a record, (C, N) in mV, float64
    head = header(file)
    mv = millivolts(file, tuple(ecg_leads(head).values()))
    noise = torch.from_numpy(resampled(mv - mv.mean(axis=0), head.fs, rate)).T.contiguous()
    if not noise.isfinite().all():
        raise DataError(f"noise record {file} has missing samples")
    return noise
