"""Sampling: from the end of the path back to a clean image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from rddm.core.data import seeded
from rddm.core.entity import Entity
from rddm.core.errors import ShapeError, SpecError
from rddm.core.extras import checked
from rddm.core.heads import clipped, decode, kept
from rddm.core.kinds import Sampler, Task
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.process import Node, Path, Prediction, unchanged
from rddm.core.spec import Training
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
    if not 0 <= eta <= 1:
        raise SpecError("Spec", [(("sampler", "eta"), f"must be in [0, 1]; given {eta}")])
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


def restore(
    entity: Entity,
    image: Tensor,
    *,
    steps: int | None = None,
    eta: float | None = None,
    sampler: Sampler | str | dict[str, object] | None = None,
    generator: Generators | None = None,
    noise: Tensor | None = None,
    tile: Tile = None,
    overlap: int | None = None,
    extras: Mapping[str, Tensor] | None = None,
    progress: bool = False,
) -> Tensor:
    """Restored images, shaped like `image`, in [0, 1], on the device of `image`.

    Args:
        image: (B, C, H, W) or (C, H, W), floating point in [0, 1], any H and W.
        sampler: another method that the network's heads allow, or a table of what differs, such as
            {"solver": "heun"} or {"name": "sm-res", "route": "residual-first"}; what it does not say stays.
        steps, eta, generator, noise, tile, overlap: as for `trajectory`.
        extras: as for `trajectory`, or (K, H, W); pixels that the task knows by them stay as in `image`, bit for bit.
        progress: show a bar over the steps.

    Raises:
        ShapeError: the image has another number of dimensions or channels, is not floating point, or leaves [0, 1].
        SpecError: as for `trajectory`.
    """
    channels = entity[Task].channels
    if not isinstance(image, Tensor):
        raise ShapeError(f"image must be a torch tensor in [0, 1]; given {type(image).__name__}")
    if image.ndim not in (3, 4) or image.shape[-3] != channels or image.numel() == 0:
        raise ShapeError(f"image must be (B, {channels}, H, W) or ({channels}, H, W); given {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ShapeError(f"image must be floating point in [0, 1]; given {image.dtype} (divide 8-bit images by 255)")
    low, high = (float(v) for v in image.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also catches NaN
        raise ShapeError(f"image must be in [0, 1]; its values span {low:.4g} .. {high:.4g}")
    if sampler is not None:
        entity = entity.replace(another_sampler(entity[Sampler], sampler))
    batch = image.detach() if image.ndim == 4 else image.detach()[None]
    if isinstance(noise, Tensor) and noise.ndim == image.ndim == 3:
        noise = noise[None]
    device = next(entity[Network].parameters()).device
    with torch.inference_mode():
        states = trajectory(
            entity,
            batch.to(device, torch.float32) * 2 - 1,
            steps=steps,
            eta=eta,
            generator=generator,
            noise=noise,
            tile=tile,
            overlap=overlap,
            extras=extras,
        )
        total = len(itinerary(entity, steps)[1]) - 1
        with tqdm(total=total, desc="restore", disable=not progress, leave=False) as bar:
            for state in states:
                x = state.x
                del state  # memory: its prediction is three more images
                bar.update()
    restored = x.clone().add_(1).div_(2).clamp_(0, 1).to(image)
    fixed = entity[Task].known(checked(entity[Task], extras, batch))
    restored = restored if fixed is None else torch.where(fixed, batch.clamp(0, 1), restored)  # [-1, 1] rounded it
    return restored if image.ndim == 4 else restored[0]


def sample(
    entity: Entity,
    count: int | None = None,
    *,
    noise: Tensor | None = None,
    size: int | Sequence[int] | None = None,
    seed: int = 0,
    steps: int | None = None,
    eta: float | None = None,
    sampler: Sampler | str | dict[str, object] | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """Images (N, C, H, W) in [0, 1] drawn from noise, for tasks whose I_in is 0.

    Args:
        count: how many, N; image n is drawn from (seed, n) alone, whatever N and the batch.
        noise: the start noise itself, (N, C, H, W), in place of count and size.
        size: (H, W), or one side; by default that of training.
        steps, eta, sampler: as for `restore`.
        batch: images drawn together.
        progress: show a bar over the batches.

    Raises:
        SpecError: the task's networks see an input, which this has not got; else as for `trajectory`.
        ShapeError: neither or both of count and noise are given, or they or size are no such numbers.
    """
    task, network = entity[Task], entity[Network]
    if not task.from_noise:
        problem = f"task {task.name!r} turns inputs into images; use restore(image)"
        raise SpecError("Spec", [(("task",), problem)])
    if (count is None) == (noise is None):
        raise ShapeError("give how many images to draw, count, or their start noise (N, C, H, W)")
    sides = entity[Training].crop_size if size is None else size if isinstance(size, Sequence) else (size, size)
    shape = (count or 0, task.channels, *sides) if noise is None else tuple(getattr(noise, "shape", ()))
    if len(shape) != 4 or shape[1] != task.channels or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ShapeError(f"images are (N, {task.channels}, H, W), of at least one each; given {shape}")
    if sampler is not None:
        entity = entity.replace(another_sampler(entity[Sampler], sampler))
    device, images = next(network.parameters()).device, []
    with torch.inference_mode():
        for first in tqdm(range(0, shape[0], batch), desc="sample", disable=not progress, leave=False):
            numbers = range(first, min(first + batch, shape[0]))
            states = trajectory(
                entity,
                torch.zeros(len(numbers), *shape[1:], device=device),
                steps=steps,
                eta=eta,
                generator=[seeded(seed, 3, number) for number in numbers],
                noise=None if noise is None else noise[first : first + batch],
            )
            for state in states:
                x = state.x
            images.append(((x + 1) / 2).clamp(0, 1).cpu())
    return torch.cat(images).to("cpu" if noise is None else noise.device).clone()


def another_sampler(own: Sampler, other: Sampler | str | dict[str, object]) -> Sampler:
    """The sampler that `other` means beside a model's own: itself, or a name or table, whose rest is as in `own`."""
    if isinstance(other, Sampler):
        return other
    if not isinstance(other, str | dict):
        raise SpecError("Spec", [(("sampler",), f"must be a name, a table or a Sampler; given {other!r}")])
    table = {"name": other} if isinstance(other, str) else other
    same = table.get("name", own.name) == own.name
    keys = type(own).model_fields.keys() if same else Sampler.model_fields.keys() - {"nets", "clock"}
    return resolve(Sampler, {key: getattr(own, key) for key in keys} | table)


def _generators(generator: Generators | None, count: int) -> Generators:
    if generator is None:
        return Generator().manual_seed(0)
    if not isinstance(generator, Generator | Sequence):
        raise ShapeError(f"generator must be a torch.Generator, or one for each image; given {generator!r}")
    if not isinstance(generator, Generator) and len(generator) != count:
        raise ShapeError(f"give one generator, or one for each of the {count} images; given {len(generator)}")
    return generator
