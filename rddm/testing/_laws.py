"""Laws of the process: what holds along every path, whatever schedule it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.heads import decode, encode
from rddm.core.kinds import Sampler, Solver
from rddm.core.process import Node, Path, Prediction, forward, forward_step, posterior_std, reverse_step
from rddm.testing._property import near, require, seeded
from rddm.testing.strategies import determined, truth


def noise_in(x: Tensor, known: Prediction, node: Node) -> Tensor:
    """What is left of a state without image and input, as standard noise; 0 where the state holds none."""
    rest = x - forward(known.x0, known.x0 + known.res, torch.zeros_like(x), node)
    return rest / node.C if node.C > 0 else torch.zeros_like(x)


def drawing(like: Tensor, seed: int) -> Callable[[], Tensor]:
    """A function that draws standard noise shaped like a tensor."""
    generator = seeded(seed)
    return lambda: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def takes_eta(solver: Solver) -> bool:
    """Whether a solver takes eta > 0, or refuses it by SpecError."""
    path = Path.dual(*torch.linspace(0, 1, 5, dtype=torch.float64).expand(2, 5).clone())
    x = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    try:
        solver.step(x, path[4], path[2], lambda x, node: Prediction(x, x, x), lambda: x, 0.5, None)
    except SpecError:
        return False
    return True


def starts_clean_and_its_noise_never_falls(path: Path) -> None:
    """Row 0 is (1, 0, 0), the noise is at least 0, and C / F never falls."""
    row = [table[0].item() for table in path.tables]
    require(all(abs(a - b) <= 1e-12 for a, b in zip(row, (1, 0, 0), strict=True)), f"row 0 is {row}")
    for key, table in zip("ABCF", (*path.tables, path.F), strict=True):
        given = f"{key} is {table.dtype} of shape {tuple(table.shape)}"
        require(table.dtype == torch.float64 and table.shape == (path.T + 1,), given)
        require(
            table.device.type == "cpu" and not table.requires_grad, f"{key} is on {table.device}, or has a gradient"
        )
    require((path.C >= 0).all(), "C is negative somewhere")
    require((path.F[:-1] > 0).all(), "F is not above 0 before T")
    level = path.C / path.F
    falls = level[:-1].diff() < -1e-12
    require(not falls.any(), f"C / F falls at t = {falls.nonzero().flatten().tolist()[:3]}")


def the_chain_has_the_moments_of_the_closed_form(path: Path, rising: Sequence[int], known: Prediction) -> None:
    """The chain is linear: its mean with z = 0, and its variance by the gains and spreads of its steps."""
    x_in, zero = known.x0 + known.res, torch.zeros_like(known.x0)
    x, variance = known.x0, torch.zeros(())
    for s, e in pairwise(rising):
        now, to = path[s], path[e]
        gain = forward_step(torch.ones_like(zero), zero, zero, zero, now, to)
        spread = forward_step(zero, zero, zero, torch.ones_like(zero), now, to)
        x = forward_step(x, known.x0, x_in, zero, now, to)
        variance = gain**2 * variance + spread**2
    near(x, forward(known.x0, x_in, zero, path[path.T]), "the chain's mean at T", atol=1e-12, rtol=1e-10)
    near(variance, (path.C[-1] ** 2).expand_as(zero), "the chain's variance at T", atol=1e-12, rtol=1e-10)


def the_truth_walks_back_to_the_clean_image(
    path: Path, falling: Sequence[int], eta: float, known: Prediction, seed: int
) -> None:
    """Reverse steps with the true image, residual and noise end at the clean image, for any times and eta."""
    x_in, draw = known.x0 + known.res, drawing(known.x0, seed)
    x = forward(known.x0, x_in, known.eps, path[path.T])
    for now, to in pairwise(falling):
        told = Prediction(known.x0, known.res, noise_in(x, known, path[now]))
        x = reverse_step(told, path[now], path[to], eta, draw)
    near(x, known.x0, "the last state", atol=1e-12, rtol=1e-10)


def an_oracle_samples_the_clean_image(
    path: Path, sampler: Sampler, solver: Solver, falling: Sequence[int], eta: float, seed: int
) -> bool:
    """A network that tells the truth by its heads leads to the clean image; False where heads do not determine it.

    Wherever the path holds no noise, as at the clean image, the state is A I_0 + B I_in.
    """
    known = truth(seed)
    x_in, draw = known.x0 + known.res, drawing(known.x0, seed)
    if not all(determined(sampler, path, path[t]) for t in falling[:-1]):
        return False

    def predict(x: Tensor, node: Node) -> Prediction:
        told = Prediction(known.x0, known.res, noise_in(x, known, node))
        heads = [(target, encode(target, told)) for target in sampler.targets(path, node).values()]
        return decode(x, node, heads, x_in)

    x, memory = forward(known.x0, x_in, known.eps, path[path.T]), None
    for now, to in pairwise(falling):
        x, _, memory = solver.step(x, path[now], path[to], predict, draw, eta, memory)
        if to == 0 or path.C[to] == 0:
            what = "the image" if to == 0 else f"the state at t = {to}, where there is no noise,"
            how = f"by {sampler.name!r} and {solver.name!r} at eta = {eta} over {list(falling)}"
            want = known.x0 if to == 0 else forward(known.x0, x_in, torch.zeros_like(x), path[to])
            near(x, want, f"{what} {how}")
    return True


def what_is_encoded_is_decoded(path: Path, sampler: Sampler, t: int, known: Prediction) -> bool:
    """State and true heads give the truth back; False where they do not determine it."""
    node = path[t]
    if not determined(sampler, path, node):
        return False
    known = known if node.C > 0 else Prediction(known.x0, known.res, torch.zeros_like(known.eps))
    x_in = known.x0 + known.res
    heads = [(target, encode(target, known)) for target in sampler.targets(path, node).values()]
    found = decode(forward(known.x0, x_in, known.eps, node), node, heads, x_in)
    near(found.x0, known.x0, f"the image decoded at t = {t}")
    near(found.res, known.res, f"the residual decoded at t = {t}")
    if node.C > 1e-3:
        near(found.eps, known.eps, f"the noise decoded at t = {t}")
    return True


def a_batch_of_times_decodes_like_each_alone(path: Path, sampler: Sampler, seed: int) -> None:
    """All times of a path as one batch give what the first and the last of them give alone."""
    known, index = truth(seed, (path.T, 1, 2, 2)), torch.arange(1, path.T + 1)
    node, x_in = path[index], known.x0 + known.res
    x = forward(known.x0, x_in, known.eps, node)
    heads = [(target, encode(target, known)) for target in sampler.targets(path, node).values()]
    try:
        found = decode(x, node, heads, x_in)
    except SpecError:
        lost = not all(determined(sampler, path, path[int(t)]) for t in index)
        require(lost, "the heads of a batch are refused where each time alone is decoded")
        return
    for i in (0, path.T - 1):
        one, row = path[int(index[i])], slice(i, i + 1)
        alone = Prediction(known.x0[row], known.res[row], known.eps[row])
        heads = [(target, encode(target, alone)) for target in sampler.targets(path, one).values()]
        near(found.x0[row], decode(x[row], one, heads, x_in[row]).x0, f"the image decoded at t = {i + 1} of a batch")


def eta_1_is_the_ancestral_posterior(path: Path, high: int, low: int, known: Prediction) -> None:
    """Bayes by hand: q(x_s | x_t, x0) from the marginal at s and the Gaussian step s -> t, a product of Gaussians."""
    now, to = path[high], path[low]
    x_in = known.x0 + known.res
    x_t = forward(known.x0, x_in, known.eps, now)
    gain = now.F / to.F
    shift = (now.A - gain * to.A) * known.x0 + (now.B - gain * to.B) * x_in
    step_variance, mean = now.C**2 - (gain * to.C) ** 2, to.A * known.x0 + to.B * x_in
    variance = to.C**2
    if now.C > 0:  # else the state is pinned, or nothing is random, and says no more than the marginal
        mean = (step_variance * mean + gain * to.C**2 * (x_t - shift)) / now.C**2
        variance = variance * step_variance / now.C**2
    sigma2, atol = posterior_std(now, to, 1.0) ** 2, 1e-13 * max(1, now.C.item() ** 2)
    near(sigma2, variance, "the variance of the posterior", atol=atol, rtol=1e-6)
    found = reverse_step(known, now, to, 1.0, lambda: torch.zeros_like(x_t))
    near(found, mean, "the mean of the posterior", atol=1e-6, rtol=1e-10)


def every_eta_keeps_the_variance(path: Path, high: int, low: int, eta: float) -> None:
    """What a step keeps of the noise and what it draws have the path's variance together."""
    now, to = path[high], path[low]
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    kept = reverse_step(Prediction(zero, zero, one), now, to, eta, lambda: zero)
    drawn = reverse_step(Prediction(zero, zero, zero), now, to, eta, lambda: one)
    near(kept**2 + drawn**2, (to.C**2).expand(1, 1), "the variance", atol=1e-12, rtol=1e-10)
