"""Sampling: from the end of the path back to a clean image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from rddm.core.entity import Entity
from rddm.core.errors import ShapeError, SpecError
from rddm.core.kinds import Sampler, Task
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.process import Node, Path, Prediction, clip, decode

Generators = Generator | Sequence[Generator]


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
) -> Iterator[State]:
    """The states from the first step to the clean image, one by one; needs Path, Sampler, Task and Network.

    Starts from the path's prior, `I_T = (A_T + B_T) I_in + C_T noise` unless the schedule says another.

    Args:
        x_in: input images (B, C, *S) in [-1, 1].
        steps, eta: in place of the sampler's own.
        generator: one generator, from which every image draws as if it were alone, so that an image's result does
            not depend on its batch; or one for each image. Default: `manual_seed(0)`.
        noise: the start noise itself, (B, C, *S), in place of a drawn one.

    Raises:
        SpecError: steps above T, eta outside [0, 1], or a head that the network does not have.
        ShapeError: noise is not shaped like x_in, or generators are not one for each image.
    """
    path, sampler, task, network = entity[Path], entity[Sampler], entity[Task], entity[Network]
    steps, eta = sampler.steps if steps is None else steps, sampler.eta if eta is None else eta
    if not isinstance(steps, int) or not 1 <= steps <= path.T:
        raise SpecError(
            "Spec", [(("sampler", "steps"), f"must be an integer in 1..{path.T}, the schedule's T; given {steps!r}")]
        )
    if not 0 <= eta <= 1:
        raise SpecError("Spec", [(("sampler", "eta"), f"must be in [0, 1]; given {eta}")])
    if missing := set(sampler.heads) - set(network.heads):
        have = f"this network has {sorted(network.heads)}; sample by a method that needs no other"
        raise SpecError("sampler", [((), f"{sampler.name} needs the heads {sorted(missing)}; {have}")])
    if noise is not None and not isinstance(noise, Tensor):
        raise ShapeError(f"noise must be a torch tensor; given {type(noise).__name__}")
    if noise is not None and noise.shape != x_in.shape:
        raise ShapeError(f"noise must be shaped like the images, {tuple(x_in.shape)}; given {tuple(noise.shape)}")
    generators = _generators(generator, len(x_in))
    condition = task.condition(x_in)

    def draw() -> Tensor:
        if isinstance(generators, Generator):
            one = torch.randn((1, *x_in.shape[1:]), generator=generators, device=generators.device, dtype=x_in.dtype)
            return one.to(x_in.device).expand_as(x_in)
        each = [torch.randn(x_in.shape[1:], generator=g, device=g.device, dtype=x_in.dtype) for g in generators]
        return torch.stack([one.to(x_in.device) for one in each])

    def predict(x: Tensor, node: Node) -> Prediction:
        seen = x if condition is None else torch.cat([x, condition], dim=1)
        found = network(seen, network.times(path, node), sampler.heads)
        heads = [(target, found[name].to(x.dtype)) for name, target in sampler.targets(node).items()]
        prediction = decode(x, node, heads, x_in)
        return clip(prediction) if sampler.clip else prediction

    nodes = sampler.nodes(path.T, steps)
    x, memory = path.start(x_in, draw() if noise is None else noise.to(x_in)), None
    for step, (now, to) in enumerate(pairwise(nodes), start=1):
        x, prediction, memory = sampler.solver.step(x, path[now], path[to], predict, draw, eta, memory)
        yield State(step, steps, x, prediction)


def restore(
    entity: Entity,
    image: Tensor,
    *,
    steps: int | None = None,
    eta: float | None = None,
    sampler: Sampler | str | dict[str, object] | None = None,
    generator: Generators | None = None,
    noise: Tensor | None = None,
    progress: bool = False,
) -> Tensor:
    """Restored images, shaped like `image`, in [0, 1], on the device of `image`.

    Args:
        image: (B, C, H, W) or (C, H, W), floating point in [0, 1], any H and W.
        sampler: another method that the network's heads allow; given by name it keeps the spec's steps and eta.
        steps, eta, generator, noise: as for `trajectory`.
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
        entity = entity.replace(_other_sampler(entity[Sampler], sampler))
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
        )
        total = entity[Sampler].steps if steps is None else steps
        for state in tqdm(states, total=total, desc="restore", disable=not progress, leave=False):
            x = state.x
    restored = ((x.clone() + 1) / 2).clamp(0, 1).to(image)
    return restored if image.ndim == 4 else restored[0]


def _other_sampler(own: Sampler, other: Sampler | str | dict[str, object]) -> Sampler:
    if isinstance(other, Sampler):
        return other
    if not isinstance(other, str | dict):
        raise SpecError("Spec", [(("sampler",), f"must be a name, a table or a Sampler; given {other!r}")])
    kept = {"steps": own.steps, "eta": own.eta, "solver": own.solver, "clip": own.clip}
    return resolve(Sampler, kept | ({"name": other} if isinstance(other, str) else other))


def _generators(generator: Generators | None, count: int) -> Generators:
    if generator is None:
        return Generator().manual_seed(0)
    if not isinstance(generator, Generator | Sequence):
        raise ShapeError(f"generator must be a torch.Generator, or one for each image; given {generator!r}")
    if not isinstance(generator, Generator) and len(generator) != count:
        raise ShapeError(f"give one generator, or one for each of the {count} images; given {len(generator)}")
    return generator
