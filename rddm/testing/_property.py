"""Properties: what a kind promises, as functions that fail with what they found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import getdoc, signature
from typing import Any, TypeVar

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings

from rddm.core.errors import DataError
from rddm.core.kinds import Records

F = TypeVar("F", bound=Callable[..., None])


class Found(AssertionError):
    """What was found where the contract says something else."""


@dataclass(frozen=True)
class Property:
    """One sentence of a kind's contract, the function that tests it, and what to change where it fails."""

    kind: str  # "" for all kinds
    name: str
    sentence: str
    mend: str
    test: Callable[..., None]
    options: dict[str, Any] = field(default_factory=dict)  # keyword parameters of the test, with their defaults


#: Every property, in the order in which they are tested.
PROPERTIES: list[Property] = []


def holds(kind: str, mend: str) -> Callable[[F], F]:
    """A property of a kind: its docstring's first paragraph is the contract's sentence, its keywords options."""

    def register(test: F) -> F:
        options = {key: p.default for key, p in signature(test).parameters.items() if p.kind is p.KEYWORD_ONLY}
        sentence = " ".join((getdoc(test) or "").split("\n\n")[0].split())
        PROPERTIES.append(Property(kind, test.__name__, sentence, mend, test, options))
        return test

    return register


def require(condition: object, found: str) -> None:
    """Fail with what was found, unless the condition holds."""
    if not condition:
        raise Found(found)


def near(found: torch.Tensor, want: torch.Tensor, what: str, atol: float = 1e-8, rtol: float = 1e-9) -> None:
    """Fail unless two tensors are of one shape and equal up to rounding."""
    require(found.shape == want.shape, f"{what} is {tuple(found.shape)}, not {tuple(want.shape)}")
    far = ~torch.isclose(found, want, rtol=rtol, atol=atol, equal_nan=True)
    if far.any():
        off = (found - want).abs().max().item()
        raise Found(f"{what} is off by up to {off:.3g}, in {int(far.sum())} of {far.numel()} values")


def cases(count: int) -> settings:
    """Settings of hypothesis for properties: always the same cases, one failure, no deadline, no database on disk."""
    return settings(
        max_examples=count,
        report_multiple_bugs=False,  # several come as a group, without their lines and cases
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def readable(records: Records, limit: int, what: str = "records") -> list[tuple[int, dict[str, Any]]]:
    """The first `limit` records that can be read, with their numbers; at least one of all must be."""
    found: list[tuple[int, dict[str, Any]]] = []
    problem: DataError | None = None
    for n in range(len(records)):
        if len(found) == limit:
            break
        try:
            record = records[n]
            found.append((n, {role: record[role] for role in record}))
        except DataError as error:
            problem = problem or error
    require(found, f"none of {len(records)} {what} can be read; the first: {problem}")
    return found


@contextmanager
def own_randomness(seed: int = 0) -> Iterator[None]:
    """A block whose global random states are these of a seed, and are put back afterwards."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  components may use it by mistake
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def without_global_randomness(what: str) -> Iterator[None]:
    """Fail if the block moves a global random state."""

    def states() -> tuple[object, object, object]:
        _, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002
        return torch.get_rng_state().numpy().tobytes(), (np.asarray(keys).tobytes(), *place), random.getstate()

    before = states()
    yield
    moved = [name for name, a, b in zip(("torch", "numpy", "random"), before, states(), strict=True) if a != b]
    require(not moved, f"{what} draws from the global random state of {', '.join(moved)}, not from its generator")
