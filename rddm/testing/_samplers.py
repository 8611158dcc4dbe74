"""What a sampler promises."""

from __future__ import annotations

from typing import Literal

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone, Sampler, Schedule, Solver
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.process import Path, Prediction
from rddm.testing import _laws as laws
from rddm.testing._property import cases, holds, require
from rddm.testing.strategies import built_in, components, defaults, determined, etas, paths, predictions, seeds, times

SCHEDULES = st.deferred(lambda: components(Schedule).map(lambda schedule: schedule.path()))


def settled(sampler: Sampler) -> list[Sampler]:
    """The sampler, or, while its choice is open, what training may make of it."""
    choice = sampler.choice
    return [sampler] if choice is None else [choice.decide(number, 1, 0.5, "") for number in (0, 1)]


@holds(
    "sampler",
    "List each head once, as a text that can be a Python name or holds + and -; samplers share heads by name.",
)
def heads_are_names(sampler: Sampler) -> None:
    """heads is a tuple of one or two different, non-empty texts without dots: what the network predicts."""
    for one in settled(sampler):
        good = isinstance(one.heads, tuple) and all(isinstance(head, str) and head for head in one.heads)
        require(good and len(set(one.heads)) == len(one.heads) in (1, 2), f"heads is {one.heads!r}")
        require(not any("." in head for head in one.heads), f"heads is {one.heads!r}, and networks cannot be called so")


@holds(
    "sampler", "Return a dict with one (p, q, r) for each head: numbers, or tensors made from node.A, node.B, node.C."
)
def targets_are_finite_weights_for_each_head(sampler: Sampler, *, examples: int = 40) -> None:
    """targets gives exactly the heads, each as three finite weights, for one time and for a batch of times alike."""

    @cases(examples)
    @given(SCHEDULES | paths(), st.sampled_from(settled(sampler)))
    def each(path: Path, one: Sampler) -> None:
        for t in (torch.arange(1, path.T + 1), path.T):
            node = path[t]
            targets = one.targets(path, node)
            require(set(targets) == set(one.heads), f"targets are for {sorted(targets)}, and heads is {one.heads}")
            for head, target in targets.items():
                require(len(target) == 3, f"the target of {head!r} has {len(target)} weights")
                for letter, weight in zip("pqr", target, strict=True):
                    value = torch.as_tensor(weight, dtype=torch.float64)
                    require(value.isfinite().all(), f"{letter} of {head!r} is not finite at t = {node.t.tolist()}")
                    require(value.shape in ((), node.A.shape), f"{letter} of {head!r} is {tuple(value.shape)} for {t}")

    each()


@holds(
    "sampler",
    "With the state, the heads (or a head and I_in) must be independent equations for image, residual and noise.",
)
def what_is_encoded_is_decoded(sampler: Sampler, *, examples: int = 60) -> None:
    """State and targets determine image, residual and noise: what the truth says by its heads decodes to the truth."""
    reached = []

    @cases(examples)
    @given(st.sampled_from(settled(sampler)), SCHEDULES | paths(), st.data(), predictions(), seeds)
    def each(one: Sampler, path: Path, data: st.DataObject, known: Prediction, seed: int) -> None:
        reached.append(laws.what_is_encoded_is_decoded(path, one, data.draw(st.integers(1, path.T)), known))
        laws.a_batch_of_times_decodes_like_each_alone(path, one, seed)

    each()
    require(sum(reached) > len(reached) / 4, "the heads determine the image at few of the times tried, or at none")


@holds("sampler", "The sum p I_0 + q I_in + r eps of targets must be what the network is to predict at this node.")
def an_oracle_is_sampled_to_the_clean_image(sampler: Sampler, *, examples: int = 40) -> None:
    """With every built-in solver, along every built-in schedule, a network that tells the truth leads to the image."""
    solvers = defaults(Solver, built_in("solver"))
    reached = []

    @cases(examples)
    @given(st.sampled_from(settled(sampler)), SCHEDULES, st.sampled_from(solvers), st.data(), etas, seeds)
    def each(one: Sampler, path: Path, solver: Solver, data: st.DataObject, eta: float, seed: int) -> None:
        falling, eta = data.draw(times(path.T)), eta if laws.takes_eta(solver) else 0.0
        reached.append(laws.an_oracle_samples_the_clean_image(path, one, solver, falling, eta, seed))

    each()
    require(any(reached), "the heads determine the clean image along none of the built-in schedules")


@holds(
    "sampler",
    "Say bound: ClassVar[bool] = True, so that sampling keeps to the path of training; or use A, B, C and F of the node"
    " alone, for t is the number of its row.",
)
def targets_that_look_beyond_the_node_are_bound(sampler: Sampler) -> None:
    """bound is True where the targets at a node change when other rows of the path do, their number or the end."""
    rows = torch.arange(41)
    abar, bbar = (torch.linspace(0, 1, 41, dtype=torch.float64) ** power for power in (1.5, 2.5))
    bent = [table.clone() for table in (abar, bbar)]
    for table, end in zip(bent, (0.9, 1.5), strict=True):
        table[1:20] = table[20] * torch.arange(1, 20) / 20
        table[21:] = table[20] + (end - table[20]) * torch.arange(1, 21) / 20
    often = {  # the rows of the path that others have, and where the node is then
        "every row comes twice": (torch.cat([rows[:1], rows[1:].repeat_interleave(2)]), 40),
        "every row up to it comes twice": (torch.cat([rows[:1], rows[1:21].repeat_interleave(2), rows[21:]]), 40),
        "every row after it comes twice": (torch.cat([rows[:21], rows[21:].repeat_interleave(2)]), 20),
    }
    others = {what: (abar[index], bbar[index], t) for what, (index, t) in often.items()}
    others["all other rows are others"] = (bent[0], bent[1], 20)
    for one in settled(sampler):
        if one.bound:
            continue
        here = _weights(one, Path.dual(abar, bbar, gauge=1 - 0.9 * abar), 20)
        for what, (a, b, t) in others.items():
            there = _weights(one, Path.dual(a, b, gauge=1 - 0.9 * a), t)
            moved = any(not torch.allclose(here[head], there[head]) for head in one.heads)
            require(not moved, f"bound is False, and the targets at a node change where {what}")


def _weights(sampler: Sampler, path: Path, t: int | list[int]) -> dict[str, torch.Tensor]:
    """The weights of each head as a tensor (3,), or (3, B) for several times."""
    node = path[t if isinstance(t, int) else torch.tensor(t)]
    targets = sampler.targets(path, node)
    return {
        head: torch.stack([torch.as_tensor(part, dtype=torch.float64).expand(node.A.shape) for part in target])
        for head, target in targets.items()
    }


@holds(
    "sampler",
    "Give the head another name; or, if networks with that head shall serve both, the targets that it has there.",
)
def a_head_of_a_known_name_is_that_head(sampler: Sampler) -> None:
    """A head with the name of a built-in sampler's head has its targets: networks are shared by the names of heads."""
    known = [
        (part, head)
        for part in defaults(Sampler, built_in("sampler"))
        if part.choice is None and type(part) is not type(sampler)
        for head in part.heads
    ]
    paths = [resolve(Schedule, name).path() for name in ("power", "ddim", "bbdm")]
    for one in settled(sampler):
        for part, head in known:
            for path in paths if head in one.heads else ():
                at = [1, path.T // 3, path.T]
                found, want = (_weights(sampler, path, at)[head] for sampler in (one, part))
                given = f"{head!r} at t = {at} has the weights {found.T.tolist()}"
                require(torch.allclose(found, want), f"{given}, and that of {part.name!r} {want.T.tolist()}")


class _Plain(Backbone):
    """A backbone that is one convolution of single pixels."""

    name: Literal["plain"] = "plain"

    def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
        return _Pixels(in_chans, out_chans)


class _Pixels(nn.Module):
    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(in_chans, out_chans, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.mix(x)
        return y


@holds("sampler", "Leave nets, clock and the other fields of Sampler as they are, or restrict them by a Literal.")
def a_network_with_its_heads_can_be_built(sampler: Sampler) -> None:
    """For every number of networks and clock that it allows, a network gives a prediction for each head."""
    path = Path.dual(*torch.linspace(0, 1, 11, dtype=torch.float64).expand(2, 11).clone())
    built = 0
    for nets in (1, 2):
        for clock in ("index", "path"):
            try:
                other = type(sampler)(**sampler.model_dump() | {"nets": nets, "clock": clock})
            except SpecError:
                continue
            for one in settled(other):
                network = Network(_Plain(), one, 3, 3)
                found = network(torch.zeros(2, 6, 4, 5), network.times(path.T, path[7]))
                shapes = {head: tuple(y.shape) for head, y in found.items()}
                require(shapes == dict.fromkeys(one.heads, (2, 3, 4, 5)), f"{nets} networks give {shapes}")
                built += 1
    require(built, "no nets of 1 or 2 with a clock of index or path are allowed")


@holds("sampler", "List in learnt the fields that choice.decide fills in, and no others.")
def what_is_learnt_are_parameters_and_settles_the_choice(sampler: Sampler) -> None:
    """learnt names parameters; where there is a choice, either decision gives a sampler that has none, and heads."""
    fields = set(type(sampler).model_fields)
    require(set(sampler.learnt) <= fields, f"learnt is {sampler.learnt}, and the parameters are {sorted(fields)}")
    for one in settled(sampler):
        require(one.choice is None, f"{one!r} has a choice, still")
        path = Path.dual(*torch.linspace(0, 1, 11, dtype=torch.float64).expand(2, 11).clone())
        require(determined(one, path, path[5]), f"{one!r} is decided, and its heads do not determine the image")
