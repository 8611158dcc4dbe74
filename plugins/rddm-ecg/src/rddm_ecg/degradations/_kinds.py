"""Models of the four kinds of ECG noise: (*, L) float64 of any scale, from the sampling rate and a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, prod, tau

import torch
from torch import Generator, Tensor


def baseline(shape: tuple[int, ...], rate: float, generator: Generator) -> Tensor:
    """Baseline wander: eight sines of 0.05 .. 0.5 Hz, as of breathing and slow shifts of the body.

    Amplitudes are normal, so that one or two of them lead; phases and frequencies are uniform, for each lead.
    """
    uniform = partial(torch.rand, (*shape[:-1], 8, 1), generator=generator, dtype=torch.float64)
    frequency, phase = 0.05 + 0.45 * uniform(), tau * uniform()
    amplitude = torch.randn(phase.shape, generator=generator, dtype=torch.float64)
    waves = (tau * frequency * _seconds(shape, rate) + phase).sin()
    return (amplitude * waves).sum(-2)


def electrode_motion(shape: tuple[int, ...], rate: float, generator: Generator) -> Tensor:
    """Electrode motion: shifts of the electrodes' potential at random moments, about 1.5 in a second, that fade.

        sum_k a_k (1 - exp(-(t - t_k) / r_k)) exp(-(t - t_k) / d_k),   t > t_k

    Rises r_k take 10 .. 60 ms and decays d_k 0.1 .. 1 s, as T waves and ectopic beats do: its spectrum is that of the
    ECG. Moments are of the body, the same for all leads; amplitudes a_k are normal, for each lead. At least one
    shift begins within the signal.
    """
    length, leads = shape[-1], prod(shape[:-1])
    before = ceil(3 * rate)  # samples in which earlier shifts began
    mean = torch.tensor(1.5 * (before + length) / rate, dtype=torch.float64)
    count = 1 + int(torch.poisson(mean, generator=generator))
    uniform = partial(torch.rand, count, generator=generator, dtype=torch.float64)
    begin = (uniform() * (before + length)).long() - before
    begin[0] = int(uniform()[0] * length)
    rise, decay = (0.01 + 0.05 * uniform()) * rate, 0.1 * 10 ** uniform() * rate
    height = torch.randn(leads, count, generator=generator, dtype=torch.float64)
    noise = torch.zeros(leads, length, dtype=torch.float64)
    for k in range(count):
        first = max(0, int(begin[k]))
        last = max(first, min(length, int(begin[k]) + ceil(float(8 * decay[k]))))
        t = torch.arange(first, last, dtype=torch.float64) - begin[k] + 1
        noise[:, first:last] += height[:, k, None] * (1 - (-t / rise[k]).exp()) * (-t / decay[k]).exp()
    return noise.reshape(shape)


def muscle(shape: tuple[int, ...], rate: float, generator: Generator) -> Tensor:
    """Muscle artefact: white noise with the spectrum of the surface electromyogram, in contractions that come and go.

        S(f) ~ f^2 / ((f^2 + l^2) (f^2 + h^2)^2),   l = 60 Hz, h = 120 Hz,   f > 5 Hz

    times an envelope exp(g), g a sum of slow sines of standard deviation 0.7. The spectrum is that of Shwedyk,
    Balasubramanian, Scott, "A nonstationary model for the electromyogram", IEEE Trans. Biomed. Eng. 1977.
    """
    length = shape[-1]
    f = torch.fft.rfftfreq(length, 1 / rate, dtype=torch.float64)
    gain = torch.where(f > 5, f / ((f**2 + 60**2).sqrt() * (f**2 + 120**2)), 0.0)
    white = torch.randn(shape, generator=generator, dtype=torch.float64)
    coloured: Tensor = torch.fft.irfft(torch.fft.rfft(white) * gain, n=length)
    uniform = partial(torch.rand, (*shape[:-1], 6, 1), generator=generator, dtype=torch.float64)
    slow = ((0.1 + 0.9 * uniform()) * tau * _seconds(shape, rate) + tau * uniform()).sin().sum(-2)
    return coloured * (0.7 / 3**0.5 * slow).exp()


def mains(shape: tuple[int, ...], rate: float, generator: Generator, hertz: float) -> Tensor:
    """Hum of the mains: a sine within 0.1 Hz of 50 or 60, whose strength swells slowly by a fifth, and its overtones.

    The second is up to a tenth as strong, the third up to three tenths; those above half the sampling rate are not
    there. The frequency is the same for all leads, phases are not.
    """
    uniform = partial(torch.rand, generator=generator, dtype=torch.float64)
    t, each = _seconds(shape, rate), (*shape[:-1], 1)
    frequency, swell = hertz + 0.2 * (uniform(()) - 0.5), 0.05 + 0.25 * uniform(())
    hum = torch.zeros(shape, dtype=torch.float64)
    for overtone, most in ((1, None), (2, 0.1), (3, 0.3)):
        strength = torch.ones(each, dtype=torch.float64) if most is None else most * uniform(each)
        phase = tau * uniform(each)
        if overtone * hertz < rate / 2:
            hum = hum + strength * (tau * overtone * frequency * t + phase).sin()
    return hum * (1 + 0.2 * (tau * swell * t + tau * uniform(each)).sin())


def _seconds(shape: tuple[int, ...], rate: float) -> Tensor:
    return torch.arange(shape[-1], dtype=torch.float64) / rate


#: By name; "mains-50" is 50 Hz.
KINDS: Mapping[str, Callable[[tuple[int, ...], float, Generator], Tensor]] = {
    "baseline-wander": baseline,
    "electrode-motion": electrode_motion,
    "muscle": muscle,
    "mains-50": partial(mains, hertz=50.0),
    "mains-60": partial(mains, hertz=60.0),
}
