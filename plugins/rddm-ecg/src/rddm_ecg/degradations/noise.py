"""Noise of electrodes, muscles and the mains, by models."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from torch import Generator, Tensor

from rddm.plugin import Degradation
from rddm_ecg.degradations._kinds import KINDS
from rddm_ecg.degradations._mix import SNR, added

Kind = Literal["baseline-wander", "electrode-motion", "muscle", "mains-50", "mains-60"]


class EcgNoise(Degradation):
    """ECG noise of one or more kinds, at a stated signal to noise ratio.

        y = clip(x + n, 0, 1),   SNR = 10 log10(var(x) / mean(n^2)) of each lead over the example

    x and y are (C, L) in [0, 1]; the ratio is the same in mV. With several kinds, the shares of the noise's power are
    drawn uniformly from all that add up to 1, for every example anew.

    * baseline-wander: sines of 0.05 .. 0.5 Hz
    * electrode-motion: shifts at random moments that fade within 0.1 .. 1 s
    * muscle: noise with the spectrum of the electromyogram (Shwedyk et al. 1977), in bursts
    * mains-50, mains-60: a sine, and overtones

    Models, not records: `ecg-recorded-noise` adds recorded noise.

    Raises:
        SpecError: kinds repeat or none is given, or snr is not low <= high within -60 .. 60.
    """

    name: Literal["ecg-noise"] = "ecg-noise"
    kinds: tuple[Kind, ...] = Field(
        default=("baseline-wander", "electrode-motion", "muscle", "mains-60"), min_length=1, description="one or more"
    )
    snr: SNR = (0.0, 10.0)
    rate: float = Field(default=360, gt=0, description="samples per second of the signals, as in the source")

    @field_validator("kinds")
    @classmethod
    def _different(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError("name each kind once")
        return kinds

    @model_validator(mode="after")
    def _audible(self) -> Self:
        for kind in self.kinds:
            if kind.startswith("mains-") and self.rate <= (least := 2 * int(kind[-2:])):
                raise ValueError(f"{kind} needs a rate above {least}; given {self.rate:g}")
        return self

    def __call__(self, clean: Tensor, generator: Generator) -> Tensor:
        noises = [KINDS[kind](tuple(clean.shape), self.rate, generator) for kind in self.kinds]
        return added(clean, noises, self.snr, generator)
