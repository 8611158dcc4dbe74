"""DDPM and DDIM noise schedules, converted."""

from __future__ import annotations

from typing import Literal

from rddm.core.errors import SpecError
from rddm.core.process import Path
from rddm.schedules._betas import BetaSchedule


class DDIM(BetaSchedule):
    """A DDPM beta schedule read as residual diffusion: with I_in = 0, sampling is identical to DDPM / DDIM.

        ac_t = prod (1 - beta_i),   abar_t = 1 - sqrt(ac_t),   bbar_t = sqrt(1 - ac_t)

    `betas` is "linear" from beta_start to beta_end, "scaled-linear", linear in sqrt(beta), "sigmoid",
    "squared-cosine", or a table of T numbers in [0, 1).
    The path carries DDPM's variance gauge F = 1 - abar; eta here is the square of DDIM's. Sampling starts from
    I_in + eps, with noise of variance 1 as DDPM has it, where the path's own end has bbar_T^2.

    Source: arXiv 2308.13712, conversion from DDIM.
    """

    name: Literal["ddim"] = "ddim"

    @classmethod
    def from_path(cls, path: Path) -> DDIM:
        """The schedule back from a path with I_in = 0: `ac_t = A_t^2`, `beta_t = 1 - ac_t / ac_{t-1}`.

        It has A and C of the path, and DDPM's gauge and prior whatever those of the path are.

        Raises:
            SpecError: A^2 + C^2 is not 1 in every row (to 1e-6), A rises or reaches 0, or pixels have their own tables.
        """
        if path.A.ndim > 1:
            raise _no_ddim(f"it has one beta for all pixels, but A is of shape {tuple(path.A.shape)}")
        miss = path.A**2 + path.C**2 - 1
        t = int(miss.abs().argmax())
        if miss[t].abs() > 1e-6:
            raise _no_ddim(f"A^2 + C^2 must be 1 in every row, but misses it by {miss[t].item():.3g} at t = {t}")
        wrong = (path.A[1:] > path.A[:-1]) | (path.A[1:] <= 0)
        if wrong.any():
            t = int(wrong.nonzero()[0, 0]) + 1
            raise _no_ddim(
                f"A must fall and stay above 0, but goes from {path.A[t - 1]:.3g} to {path.A[t]:.3g} at {t=}"
            )
        return cls(betas=tuple((1 - (path.A[1:] / path.A[:-1]) ** 2).tolist()))

    def path(self) -> Path:
        ac = self._ac()
        return Path.dual(1 - ac.sqrt(), (1 - ac).sqrt(), gauge=ac.sqrt(), prior=(1.0, 1.0))


def _no_ddim(message: str) -> SpecError:
    return SpecError("path", [((), f"is no DDIM schedule: {message}")])
