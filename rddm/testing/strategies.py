"""Hypothesis strategies for what components are given: paths, nodes, times, images, predictions, components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from torch import Generator, Tensor

from rddm.core import registry
from rddm.core.component import Component
from rddm.core.errors import SpecError
from rddm.core.kinds import Sampler, Schedule
from rddm.core.process import Node, Path, Prediction

C = TypeVar("C", bound=Component)
Parameters = Mapping[str, st.SearchStrategy[dict[str, Any]]]

#: Seeds of generators, all that count: torch uses the low 32 bits.
seeds = st.integers(0, 2**32 - 1)
#: Shares of the posterior variance that are drawn anew, the two ends above all.
etas = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
#: Shapes (B, C, *S) of signals, images and volumes.
shapes = st.sampled_from([(2, 3, 4, 5), (1, 1, 7), (2, 4, 3, 2, 2)])


def truth(seed: int, shape: tuple[int, ...] = (2, 3, 4, 5)) -> Prediction:
    """A clean image, a residual and noise, float64, by a seed."""
    generator = Generator().manual_seed(seed)
    x0, x_in, eps = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return Prediction(x0, x_in - x0, eps)


def predictions(shape: st.SearchStrategy[tuple[int, ...]] = shapes) -> st.SearchStrategy[Prediction]:
    """Clean image, residual and noise (B, C, *S), float64 and normally distributed."""
    return st.builds(truth, seeds, shape)


@st.composite
def images(draw: st.DrawFn, channels: int | None = None, ndim: int = 2, largest: int = 48) -> Tensor:
    """One image (C, *S) in [0, 1], float32, from one pixel on, of any contrast, black and white included."""
    sides = [draw(st.integers(1, largest if ndim < 3 else 8)) for _ in range(ndim)]
    shape = (channels or draw(st.integers(1, 5)), *sides)
    low, high = sorted((draw(st.floats(0, 1, width=32)), draw(st.floats(0, 1, width=32))))
    noise = torch.rand(shape, generator=Generator().manual_seed(draw(seeds)))
    return (low + (high - low) * noise).clamp(0, 1)


@st.composite
def times(draw: st.DrawFn, T: int) -> list[int]:
    """Any times from T down to 0, some of those between among them."""
    inner = draw(st.sets(st.integers(1, T - 1), max_size=6)) if T > 1 else set()
    return [T, *sorted(inner, reverse=True), 0]


def nodes(path: Path) -> st.SearchStrategy[Node]:
    """The nodes of a path, but for the clean image."""
    return st.integers(1, path.T).map(lambda t: path[t])


@st.composite
def residual_paths(draw: st.DrawFn, least: int = 1, most: int = 40) -> Path:
    """Paths of RDDM's form: abar and bbar rise from 0 to at most 1 and 2, as even or uneven as they like."""
    T = draw(st.integers(least, most))
    rise = st.lists(st.floats(0.01, 1), min_size=T, max_size=T)
    abar, bbar = (torch.tensor([0.0, *draw(rise)], dtype=torch.float64).cumsum(0) for _ in range(2))
    level = draw(st.sampled_from([0.0, 0.1, 1.0]) | st.floats(0.01, 2))
    return Path.dual(abar / abar[-1] * draw(st.sampled_from([1.0, 0.9])), bbar / bbar[-1] * level)


@st.composite
def paths(draw: st.DrawFn) -> Path:
    """Paths of all forms: residual, variance-preserving with its gauge, bridges pinned at the input, and any tables."""
    form = draw(st.sampled_from(["residual", "preserving", "bridge", "any"]))
    if form == "residual":
        return draw(residual_paths())
    T = draw(st.integers(2, 40))
    if form == "preserving":
        A = torch.tensor([1.0, *draw(st.lists(st.floats(0.5, 0.99), min_size=T, max_size=T))], dtype=torch.float64)
        A = A.cumprod(0)
        return Path(A, torch.zeros_like(A), (1 - A**2).sqrt(), F=A, prior=(0.0, 1.0))
    if form == "bridge":
        m = torch.linspace(0, 1, T + 1, dtype=torch.float64) ** draw(st.floats(0.5, 2))
        return Path(1 - m, m, draw(st.floats(0.1, 2)) * (m * (1 - m)).sqrt(), F=1 - m)
    A, B, C = (
        torch.tensor(draw(st.lists(st.floats(0.1, 1), min_size=T, max_size=T)), dtype=torch.float64) for _ in range(3)
    )
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return Path(
        torch.cat([one, A]), torch.cat([zero, B]), torch.cat([zero, C.sort().values]), F=torch.ones(T + 1).double()
    )


def built_in(kind: str) -> list[str]:
    """The names of the components of a kind that come with rddm, whatever else is installed."""
    return [entry.name for entry in registry.entries(kind) if entry.distribution == registry.OWN]


def defaults(base: type[C], names: Sequence[str]) -> list[C]:
    """The components of these names that work without parameters, as they are by default."""
    found = []
    for name in names:
        with suppress(SpecError):
            make: Callable[..., C] = registry.load(base, name)
            found.append(make())
    return found


def components(
    base: type[C], names: Sequence[str] | None = None, parameters: Parameters | None = None
) -> st.SearchStrategy[C]:
    """Components of a kind, the built-in ones unless names are given: by default, or with `parameters` drawn by name.

    Those that require parameters which are not drawn are left out.
    """
    known, drawn = built_in(base.kind) if names is None else names, parameters or {}
    plain = [st.just(part) for part in defaults(base, [name for name in known if name not in drawn])]

    def build(name: str) -> st.SearchStrategy[C]:
        return drawn[name].map(lambda keys: registry.load(base, name)(**keys))

    return st.one_of(*plain, *(build(name) for name in known if name in drawn))


def schedules(names: Sequence[str] | None = None, parameters: Parameters | None = None) -> st.SearchStrategy[Schedule]:
    """Installed schedules; see `components`."""
    return components(Schedule, names, parameters)


def samplers(names: Sequence[str] | None = None, parameters: Parameters | None = None) -> st.SearchStrategy[Sampler]:
    """Installed samplers that are settled; see `components`."""
    return components(Sampler, names, parameters).filter(lambda sampler: sampler.choice is None)


def determined(sampler: Sampler, path: Path, node: Node) -> bool:
    """Whether path, heads and, for a single head, I_in determine clean image and input well, by their singular values.

    Where there is no noise, eps is 0 by definition, and no unknown.
    """
    rows = [(node.A, node.B, node.C), *sampler.targets(path, node).values()]
    rows += [(0, 1, 0)] if len(sampler.heads) == 1 else []
    unknowns = 2 if node.C == 0 else 3
    system = torch.tensor([[float(part) for part in row] for row in rows], dtype=torch.float64)[:, :unknowns]
    return bool(torch.linalg.svdvals(system)[-1] > 1e-3)
