"""The dual diffusion process: one path for the whole family, its forward and its reverse steps.

    I_t = A_t I_0 + B_t I_in + C_t eps,   eps ~ N(0, I)                                    (path)

RDDM (arXiv 2308.13712) is A = 1 - abar, B = abar, C = bbar: `I_t = I_0 + abar_t I_res + bbar_t eps` with
`I_res = I_in - I_0`. Tables are float64 with T + 1 rows, row 0 the clean image. All functions are pure, take
images of any shape `(B, C, *S)`, and compute their coefficients in float64 before they touch an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from rddm.core.errors import ShapeError, SpecError


@dataclass(frozen=True, eq=False)
class Node:
    """The path's coefficients at one time.

    Each is a float64 tensor: of shape `()`, one for the whole batch, or `(B, *K)`, one for each item, where K
    broadcasts onto the trailing dimensions of an image (for coefficients by channel, row or frequency).
    """

    t: Tensor  # position on the path's index, 0 = clean, T = end
    A: Tensor  # weight of the clean image I_0
    B: Tensor  # weight of the input image I_in
    C: Tensor  # standard deviation of the noise
    F: Tensor  # the chain's accumulated gain; 1 for RDDM


class Spectrum(ABC):
    """An orthonormal transform of images in which a process acts on each coefficient by itself.

    White noise is white there, too. All of a process runs on coefficients; networks see and predict images.
    """

    @abstractmethod
    def path(self, size: tuple[int, ...]) -> Path:
        """The path whose tables A, B, C and F are (T + 1, *S) for images of size S."""

    @abstractmethod
    def to(self, image: Tensor) -> Tensor:
        """The coefficients (B, C, *S) of an image (B, C, *S)."""

    @abstractmethod
    def back(self, coefficients: Tensor) -> Tensor:
        """The image of coefficients, both (B, C, *S)."""


@dataclass(frozen=True, eq=False)
class Path:
    """A process as float64 tables of T + 1 rows: A, B, C, the variance gauge F, and the prior at T.

    F is the accumulated gain of the Markov chain behind the marginals. It decides the posterior's variance and
    nothing else: F = 1 for RDDM, where steps only add; F = A for DDPM, where a step shrinks the image.

    `prior` holds the weights of I_in and of noise in the state that sampling starts from. None stands for
    (A_T + B_T, C_T): the path's own end, with I_in in place of the image that is not known yet.
    `corners` are times that every grid visits, for routes with legs. Where coefficients differ by frequency, `spectrum`
    gives the tables for an image size, and A .. F here are those of frequency 0.

    Raises:
        SpecError: a table is not finite, does not start at the clean image (A = 1, B = C = 0), has C < 0, or
            gives a posterior variance below zero (C / F must not fall with t).
    """

    A: Tensor
    B: Tensor
    C: Tensor
    F: Tensor
    prior: tuple[float, float] | None = None
    corners: tuple[int, ...] = ()
    spectrum: Spectrum | None = None

    def __post_init__(self) -> None:
        tables = {"A": self.A, "B": self.B, "C": self.C, "F": self.F}
        for key, table in tables.items():
            if table.dtype != torch.float64 or table.shape[:1] != self.A.shape[:1] or len(table) < 2:
                raise _bad_path(
                    f"{key} must be a float64 table of T + 1 rows; given {table.dtype}, {tuple(table.shape)}"
                )
            if not table.isfinite().all():
                raise _bad_path(f"{key} is not finite at t = {int((~table.isfinite()).nonzero()[0, 0])}")
        if len({tuple(table.shape) for table in tables.values()}) > 1:
            raise _bad_path(f"the tables must have one shape; given {[tuple(t.shape) for t in tables.values()]}")
        for key, want in (("A", 1.0), ("B", 0.0), ("C", 0.0)):
            if (tables[key][0] - want).abs().max() > 1e-12:
                given = tables[key][0].tolist()
                raise _bad_path(f"t = 0 must be the clean image, (A, B, C) = (1, 0, 0); {key} is {given}")
            if (tables[key][0] != want).any():  # rounded: solvers ask whether there is noise at all
                object.__setattr__(self, key, torch.cat([torch.full_like(tables[key][:1], want), tables[key][1:]]))
        if (self.C < 0).any():
            raise _bad_path(f"C, a standard deviation, is negative at t = {int((self.C < 0).nonzero()[0, 0])}")
        if (self.F[:-1] <= 0).any() or (self.F[-1] < 0).any():
            raise _bad_path("the gauge F must be above 0 before T: a chain cannot come back from a gain of 0")
        falls = (self.C[1:] * self.F[:-1] - self.C[:-1] * self.F[1:]) < -1e-12
        if falls.any():
            raise _bad_path(f"the noise level C / F falls from t = {int(falls.nonzero()[0, 0])} to the next")

    @classmethod
    def dual(cls, abar: Tensor, bbar: Tensor, gauge: Tensor | None = None, **others: Any) -> Path:
        """RDDM's form from its two cumulative tables, `I_0 + abar_t I_res + bbar_t eps`; F = 1 unless given."""
        return cls(1 - abar, abar, bbar, torch.ones_like(abar) if gauge is None else gauge, **others)

    def plane(self) -> tuple[Tensor, Tensor]:
        """The cumulative tables (abar, bbar) of RDDM's form.

        Raises:
            SpecError: A + B is not 1 all along, so that the path is none of residual and noise alone.
        """
        if ((self.A + self.B - 1).abs() > 1e-12).any():
            raise _bad_path("A + B is not 1 all along, so the path has no (abar, bbar) to go another way in")
        return self.B, self.C

    @property
    def tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """A, B and C."""
        return self.A, self.B, self.C

    @property
    def T(self) -> int:
        """The number of steps of the full chain."""
        return len(self.A) - 1

    def __getitem__(self, t: int | Tensor) -> Node:
        """The node at integer time t, 0 <= t <= T: an int for all items, or an integer tensor (B,)."""
        index = torch.as_tensor(t).cpu()
        if index.is_floating_point() or (index.numel() and not (index.min() >= 0 and index.max() <= self.T)):
            raise ShapeError(f"t must be integers in 0..{self.T}; given {t}")
        if self.A.ndim > 1 and index.ndim == 0:
            index = index[None]
        return Node(index.to(torch.float64), self.A[index], self.B[index], self.C[index], self.F[index])

    def on(self, size: tuple[int, ...]) -> Path:
        """The path for images of a size: with tables (T + 1, *S) if coefficients differ by frequency, else itself."""
        return self if self.spectrum is None else self.spectrum.path(size)

    def start(self, x_in: Tensor, noise: Tensor) -> Tensor:
        """The state (B, C, *S) that sampling starts from, drawn from the prior at T with noise ~ N(0, I)."""
        end = self[self.T]
        return combine((end.A + end.B, end.C) if self.prior is None else self.prior, (x_in, noise))

    @property
    def posterior_variance(self) -> Tensor:
        """Variance (T,), or (T, *S), of the ancestral step (eta = 1) from t to t - 1, t = 1..T.

        RDDM's is sum-constrained: the variances of a whole chain add up to at most beta_T^2.
        """
        t = torch.arange(1, self.T + 1)
        return posterior_std(self[t], self[t - 1], 1.0) ** 2


def spread(measure: Tensor, steps: int) -> list[int]:
    """Falling times from T to 0 whose `measure` (T + 1,), which never falls with t, drops by about the same each step.

    Times are rows, so where the measure is flat they move on by one row each.
    """
    T = len(measure) - 1
    wanted = torch.linspace(float(measure[0]), float(measure[-1]), steps + 1, dtype=torch.float64)
    rows = torch.bucketize(wanted, (measure[1:] + measure[:-1]) / 2).tolist()  # of the nearest value
    rows[0], rows[-1] = 0, T
    for k in range(1, steps):
        rows[k] = min(max(rows[k], rows[k - 1] + 1), T - steps + k)
    return rows[::-1]


def _bad_path(message: str) -> SpecError:
    return SpecError("path", [((), message)])


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is known or believed of one state: the clean image, the residual, and the noise, each `(B, C, *S)`."""

    x0: Tensor
    res: Tensor  # I_in - I_0
    eps: Tensor


def unchanged(image: Tensor) -> Tensor:
    """The image itself: the transform of a process that acts on pixels."""
    return image


def scale(weight: float | Tensor, image: Tensor) -> Tensor:
    """weight * image, where weight is a number, a tensor `()`, or `(B, *K)` with K on the trailing dimensions."""
    if isinstance(weight, Tensor):
        weight = weight.to(image.dtype).to(image.device)  # in this order: some devices have no float64
        if weight.ndim:
            batch, trailing = weight.shape[:1], weight.shape[1:]
            weight = weight.reshape(*batch, *[1] * (image.ndim - weight.ndim), *trailing)
    return weight * image


def combine(weights: Sequence[float | Tensor], images: Sequence[Tensor]) -> Tensor:
    """The sum of weights times images."""
    return reduce(add, (scale(w, image) for w, image in zip(weights, images, strict=True)))


def forward(x0: Tensor, x_in: Tensor, eps: Tensor, node: Node) -> Tensor:
    """The state I_t (B, C, *S) in closed form."""
    return combine((node.A, node.B, node.C), (x0, x_in, eps))


def forward_step(x_s: Tensor, x0: Tensor, x_in: Tensor, z: Tensor, now: Node, to: Node) -> Tensor:
    """One step of the chain from time s to a later t, with fresh noise z ~ N(0, I).

    For RDDM's gauge it is `I_t = I_s + (abar_t - abar_s) I_res + sqrt(bbar_t^2 - bbar_s^2) z`.
    """
    gain = to.F / now.F
    spread = (to.C**2 - (gain * now.C) ** 2).clamp(min=0).sqrt()
    return combine((gain, to.A - gain * now.A, to.B - gain * now.B, spread), (x_s, x0, x_in, z))


def check_eta(eta: float) -> None:
    """Raise SpecError unless eta is in [0, 1]: a step cannot draw less than none or more than all of its variance."""
    if not 0 <= eta <= 1:
        raise SpecError("Spec", [(("sampler", "eta"), f"must be in [0, 1]; given {eta}")])


def posterior_std(now: Node, to: Node, eta: float) -> Tensor:
    """Standard deviation of the step from t to an earlier s, float64.

    `sigma^2 = eta C_s^2 (1 - rho_s^2 / rho_t^2)`, rho = C / F; for F = 1 that is the paper's
    `eta (bbar_t^2 - bbar_s^2) bbar_s^2 / bbar_t^2`. eta scales the variance: 0 is deterministic, 1 ancestral.

    Raises:
        SpecError: eta is outside [0, 1].
    """
    check_eta(eta)
    # A state without noise (the pinned end of a bridge) has none to keep: all of C_s is drawn, whatever eta.
    noisy = now.C > 0
    ratio = to.C * now.F / torch.where(noisy, to.F * now.C, 1.0)
    return to.C * torch.where(noisy, eta * (1 - ratio**2), 1.0).clamp(min=0).sqrt()


def reverse_step(
    prediction: Prediction, now: Node, to: Node, eta: float = 0.0, draw: Callable[[], Tensor] | None = None
) -> Tensor:
    """The state at an earlier time s, (B, C, *S), drawn from q(I_s | I_t, I_0, I_res).

        I_s = A_s x0 + B_s (x0 + res) + sqrt(C_s^2 - sigma^2) eps + sigma z

    Its marginal is the path's for every eta. `draw` gives z ~ N(0, I), and is called where sigma is above 0: for
    eta > 0, and on the way from a state that holds no noise to one that does.
    """
    sigma = posterior_std(now, to, eta)
    kept = (to.C**2 - sigma**2).clamp(min=0).sqrt()
    mean = combine((to.A + to.B, to.B, kept), (prediction.x0, prediction.res, prediction.eps))
    if not sigma.any():
        return mean
    if draw is None:
        raise SpecError("Spec", [(("sampler",), f"the step from t = {now.t.tolist()} draws noise; give it `draw`")])
    return mean + scale(sigma, draw())
