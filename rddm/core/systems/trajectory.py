"""Sampling, state by state: from the end of the path back to a clean image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from rddm.core.entity import Entity
from rddm.core.errors import ShapeError, SpecError
from rddm.core.extras import checked
from rddm.core.heads import clipped, decode, kept
from rddm.core.kinds import Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Node, Path, Prediction, unchanged
from rddm.core.systems.tiles import Tile, predict

Generators = Generator | Sequence[Generator]
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class State:
    """One state of a trajectory: after `step` of `steps` steps, the image and the prediction that led to it."""

    step: int
    steps: int
    x: Tensor  # (B, C, *S)
    prediction: Prediction


def trajectory(
    entity: Entity,
    x_in: Tensor,
    *,
    steps: int | None = None,
    eta: float | None = None,
    generator: Generators | None = None,
    noise: Tensor | None = None,
    tile: Tile = None,
    overlap: int | None = None,
    extras: Mapping[str, Tensor] | None = None,
) -> Iterator[State]:
    """The states from the first step to the clean image, one by one; needs Path, Sampler, Task and Network.

    Starts from the path's prior, `I_T = (A_T + B_T) I_in + C_T noise` unless the schedule says another.

    Args:
        x_in: input images (B, C, *S) in [-1, 1].
        steps, eta: in place of the sampler's own.
        generator: one generator, from which every image draws as if it were alone, so that an image's result does
            not depend on its batch; or one for each image. Default: `manual_seed(0)`.
        noise: the start noise itself, (B, C, *S), in place of a drawn one.
        tile, overlap: the network evaluates the state in overlapping tiles, whose predictions are averaged at every
            step; see `rddm.core.systems.tiles`. By default images above 2^20 pixels, in tiles of 512 x 512.
        extras: what the task needs beside the input, (B, K, *S) in [0, 1] by role, such as {"mask": mask}.

    Raises:
        SpecError: as `itinerary`; eta outside [0, 1]; a head that the network does not have; a route that it
            does not know; or one along which what it predicts is not defined.
        ShapeError: noise is not shaped like x_in, generators are not one for each image, or extras are not the task's.
    """
    sampler, task, network = entity[Sampler], entity[Task], entity[Network]
    eta = sampler.eta if eta is None else eta
    path, times = itinerary(entity, steps)
    if not (isinstance(eta, int | float) and 0 <= eta <= 1):
        raise SpecError("Spec", [(("sampler", "eta"), f"must be a number in [0, 1]; given {eta!r}")])
    timed = sampler.route is None or (sampler.route.timed and path.T == entity[Path].T)
    if network.told_index and not timed:
        problem = "leaves the states that a network told the index t knows; train one with sampler.clock=path"
        raise SpecError("Spec", [(("sampler", "route"), problem)])
    if sampler.route is not None and sampler.bound and not network.told_index:
        problem = f"{sampler.name} predicts what only the path of training defines; take a method that does not"
        raise SpecError("Spec", [(("sampler", "route"), problem)])
    if missing := set(sampler.heads) - set(network.heads):
        have = f"this network has {sorted(network.heads)}; sample by a method that needs no other"
        raise SpecError("sampler", [((), f"{sampler.name} needs the heads {sorted(missing)}; {have}")])
    if noise is not None and not isinstance(noise, Tensor):
        raise ShapeError(f"noise must be a torch tensor; given {type(noise).__name__}")
    if noise is not None and noise.shape != x_in.shape:
        raise ShapeError(f"noise must be shaped like the images, {tuple(x_in.shape)}; given {tuple(noise.shape)}")
    if noise is not None and not (noise.is_floating_point() and noise.isfinite().all()):
        given = f"{noise.dtype}, {int((~noise.isfinite()).sum())} values not finite"
        raise ShapeError(f"noise must be floating point and finite; given {given}")
    generators = _generators(generator, len(x_in))
    beside = checked(task, extras, x_in)
    condition, fixed, spectrum = task.condition(x_in, beside), task.known(beside), path.spectrum
    path = path.on(tuple(x_in.shape[2:]))
    # told the index, a network predicts what it did at that time of its own path, whatever state it is shown
    taught = entity[Path].on(tuple(x_in.shape[2:])) if network.told_index else path
    to: Transform = spectrum.to if spectrum else unchanged
    back: Transform = spectrum.back if spectrum else unchanged
    source = to(x_in)

    def draw() -> Tensor:
        if isinstance(generators, Generator):
            one = torch.randn((1, *x_in.shape[1:]), generator=generators, device=generators.device, dtype=x_in.dtype)
            return one.to(x_in.device).expand_as(x_in)
        each = [torch.randn(x_in.shape[1:], generator=g, device=g.device, dtype=x_in.dtype) for g in generators]
        return torch.stack([one.to(x_in.device) for one in each])

    def decoded(x: Tensor, node: Node) -> Prediction:
        image = back(x)
        seen = image if condition is None else torch.cat([image, condition], dim=1)
        found = predict(network, seen, network.times(entity[Path].T, node), sampler.heads, tile, overlap)
        del seen  # memory: whatever is as large as the image counts
        targets = sampler.targets(taught, taught[node.t.long()])
        prediction = decode(
            x, node, [(target, to(found[name].to(x.dtype))) for name, target in targets.items()], source
        )
        prediction = clipped(sampler.clip, prediction, x, node, source, list(targets.values()), to, back)
        return kept(prediction, source, fixed, to, back)

    x, memory = path.start(source, draw() if noise is None else to(noise.to(x_in))), None
    for step, (now, then) in enumerate(pairwise(times), start=1):
        x, prediction, memory = sampler.solver.step(x, path[now], path[then], decoded, draw, eta, memory)
        images = (back(part) for part in (prediction.x0, prediction.res, prediction.eps))
        yield State(step, len(times) - 1, back(x), Prediction(*images))
        del prediction


def itinerary(entity: Entity, steps: int | None = None) -> tuple[Path, list[int]]:
    """The path that sampling goes along, and the times it visits there; needs Path and Sampler.

    Raises:
        SpecError: steps outside 1..T, a grid that has another number of steps, or one whose times do not fall from T
            to 0.
    """
    sampler, own = entity[Sampler], entity[Path]
    path = own if sampler.route is None else sampler.route.path(own)
    wanted = sampler.steps if steps is None else steps
    if not isinstance(wanted, int) or not 1 <= wanted <= path.T:
        problem = f"must be an integer in 1..{path.T}, the T of what is sampled along; given {wanted!r}"
        raise SpecError("Spec", [(("sampler", "steps"), problem)])
    times = sampler.grid.times(path, wanted)
    where, grid = ("sampler", "grid"), sampler.grid.name
    if steps is not None and len(times) - 1 != steps:
        raise SpecError("Spec", [(where, f"{grid!r} has {len(times) - 1} steps of its own; given steps={steps}")])
    ends = len(times) > 1 and (sampler.grid.truncated or (times[0], times[-1]) == (path.T, 0))
    if not ends or any(to >= now for now, to in pairwise(times)):
        raise SpecError("Spec", [(where, f"{grid!r} must fall from T = {path.T} to 0, the clean image; gave {times}")])
    for corner in () if sampler.grid.exact else path.corners:
        if corner not in times and len(times) - 2 >= len(path.corners):
            inner = [t for t in times[1:-1] if t not in path.corners]
            times.remove(min(inner, key=lambda t: abs(t - corner)))
            times = sorted([*times, corner], reverse=True)
    return path, times


def _generators(generator: Generators | None, count: int) -> Generators:
    if generator is None:
        return Generator().manual_seed(0)
    if not isinstance(generator, Generator | Sequence):
        raise ShapeError(f"generator must be a torch.Generator, or one for each image; given {generator!r}")
    if not isinstance(generator, Generator) and len(generator) != count:
        raise ShapeError(f"give one generator, or one for each of the {count} images; given {len(generator)}")
    return generator
