"""What a schedule promises."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.process import Path, Prediction, forward
from rddm.testing import _laws as laws
from rddm.testing._property import cases, holds, near, require, seeded
from rddm.testing.strategies import built_in, defaults, etas, predictions, seeds, times, truth


@holds(
    "schedule",
    "Return rddm.plugin.Path, made from float64 tables of T + 1 rows, Path.dual(abar, bbar) or Path(A, B, C, F).",
)
def the_path_is_float64_tables_from_the_clean_image_on(schedule: Schedule) -> None:
    """path() gives a Path: finite float64 tables of T + 1 rows, T >= 1, row 0 (1, 0, 0), C / F never falling."""
    path = schedule.path()
    require(isinstance(path, Path), f"path() gives {type(path).__name__}")
    require(path.T >= 1, "T is 0")
    laws.starts_clean_and_its_noise_never_falls(path)


@holds("schedule", "Compute the tables from the parameters alone, without random numbers, the clock or the device.")
def the_path_is_always_the_same(schedule: Schedule) -> None:
    """path() is a function of the parameters: it gives the same tables every time."""
    one, other = schedule.path(), type(schedule)(**schedule.model_dump()).path()
    for key, a, b in zip("ABCF", (*one.tables, one.F), (*other.tables, other.F), strict=True):
        require(torch.equal(a, b), f"{key} differs from one call to the next")
    require((one.prior, one.corners) == (other.prior, other.corners), "prior or corners differ")


@holds("schedule", "Let the tables end where sampling shall start, or give Path the prior that they end at.")
def sampling_starts_where_the_path_ends(schedule: Schedule) -> None:
    """The prior's weights of I_in and noise are B_T and C_T up to the trace of the image left, A_T and A_T^2."""
    path = schedule.path()
    A, B, C = (float(table[-1]) for table in path.tables)
    of_input, of_noise = path.prior or (A + B, C)
    given = f"at T, (A, B, C) is ({A:.4g}, {B:.4g}, {C:.4g}), and sampling starts with ({of_input:.4g}, {of_noise:.4g})"
    require(abs(of_input - B) <= abs(A) + 1e-12 and abs(of_noise - C) <= A**2 + 1e-12, given)


@holds(
    "schedule",
    "Look at the gauge F: the chain multiplies by F_t / F_s and adds noise of variance C_t^2 - (F_t / F_s C_s)^2.",
)
def the_chain_ends_as_the_closed_form_says(schedule: Schedule, *, examples: int = 20) -> None:
    """Steps of the chain, over any times, have the mean and the variance of the closed form at T."""
    path = schedule.path()

    @cases(examples)
    @given(times(path.T), predictions())
    def each(falling: list[int], known: Prediction) -> None:
        laws.the_chain_has_the_moments_of_the_closed_form(path, falling[::-1], known)

    each()


@holds("schedule", "Look at the gauge F; the posterior's variance is C_s^2 (1 - rho_s^2 / rho_t^2), rho = C / F.")
def a_reverse_step_is_the_posterior_of_the_chain(schedule: Schedule, *, examples: int = 20) -> None:
    """At eta = 1 a reverse step is Bayes' posterior of the chain; at any eta it keeps the variance of the path."""
    path = schedule.path()

    @cases(examples)
    @given(st.data(), predictions(), etas)
    def each(data: st.DataObject, known: Prediction, eta: float) -> None:
        high = data.draw(st.integers(1, path.T))
        low = data.draw(st.integers(0, high - 1))
        laws.every_eta_keeps_the_variance(path, high, low, eta)
        if low > 0:
            laws.eta_1_is_the_ancestral_posterior(path, high, low, known)

    each()


@holds("schedule", "Look for rows in which A, B and C jump by many orders of magnitude; float64 has 15 digits.")
def the_truth_leads_back_over_any_steps(schedule: Schedule, *, examples: int = 20) -> None:
    """Reverse steps with the true image, residual and noise end at the clean image, over any times, at any eta."""
    path = schedule.path()

    @cases(examples)
    @given(times(path.T), etas, predictions(), seeds)
    def each(falling: list[int], eta: float, known: Prediction, seed: int) -> None:
        laws.the_truth_walks_back_to_the_clean_image(path, falling, eta, known, seed)

    each()


@holds("schedule", "If no method can tell image, input and noise apart along the path, raise A, or B, before T.")
def samplers_and_solvers_with_an_oracle_return_the_clean_image(schedule: Schedule, *, examples: int = 40) -> None:
    """Every built-in sampler and solver, with a network that tells the truth, returns the clean image."""
    path = schedule.path()
    samplers = [part for part in defaults(Sampler, built_in("sampler")) if part.choice is None]
    solvers = defaults(Solver, built_in("solver"))
    reached = []

    @cases(examples)
    @given(st.sampled_from(samplers), st.sampled_from(solvers), times(path.T), etas, seeds)
    def each(sampler: Sampler, solver: Solver, falling: list[int], eta: float, seed: int) -> None:
        eta = eta if laws.takes_eta(solver) else 0.0
        reached.append(laws.an_oracle_samples_the_clean_image(path, sampler, solver, falling, eta, seed))

    each()
    require(any(reached), "no built-in sampler's heads determine the clean image over any of the steps tried")


@holds(
    "schedule",
    "Look at Spectrum.to and .back: an orthonormal transform, such as a DCT with norm='ortho', and its inverse.",
)
def a_spectrum_is_an_orthonormal_transform(schedule: Schedule) -> None:
    """Where there is a spectrum, it is orthonormal, and gives paths (T + 1, *S) that start at the clean image."""
    path = schedule.path()
    if path.spectrum is None:
        return
    for size in ((8, 8), (7, 12)):
        image = torch.randn(2, 3, *size, generator=seeded(0), dtype=torch.float64)
        there = path.spectrum.to(image)
        near(path.spectrum.back(there), image, "back(to(image))")
        near(there.square().sum(), image.square().sum(), "the squared length of to(image)")
        tables = path.on(size)
        require(tables.A.shape == (path.T + 1, *size), f"A for {size} is {tuple(tables.A.shape)}")
        known = truth(0, image.shape)
        x_in = known.x0 + known.res
        x = forward(known.x0, x_in, known.eps, tables[tables.T // 2 or 1])
        require(x.isfinite().all(), f"states of size {size} are not finite")
