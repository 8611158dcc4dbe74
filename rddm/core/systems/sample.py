"""Sampling: images restored, and images drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rddm.core.draws import seeded
from rddm.core.entity import Entity
from rddm.core.errors import ShapeError, SpecError
from rddm.core.extras import checked
from rddm.core.kinds import Sampler, Task
from rddm.core.named import resolve
from rddm.core.network import Network
from rddm.core.spec import Training
from rddm.core.systems.tiles import Tile
from rddm.core.systems.trajectory import Generators, itinerary, trajectory

SIZES = {1: "L", 2: "H, W", 3: "D, H, W"}  # of signals, images and volumes, as messages name them


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
        image: (B, C, *S) or (C, *S), floating point in [0, 1], of any size: (H, W), or as many sides as `task.ndim`.
        sampler: another method that the network's heads allow, or a table of what differs, such as
            {"solver": "heun"} or {"name": "sm-res", "route": "residual-first"}; what it does not say stays.
        steps, eta, generator, noise, tile, overlap: as for `trajectory`.
        extras: as for `trajectory`, or (K, *S); pixels that the task knows by them stay as in `image`, bit for bit.
        progress: show a bar over the steps.

    Raises:
        ShapeError: the image has another number of dimensions or channels, is not floating point, or leaves [0, 1].
        SpecError: as for `trajectory`.
    """
    channels, ndim = entity[Task].channels, entity[Task].ndim
    if not isinstance(image, Tensor):
        raise ShapeError(f"image must be a torch tensor in [0, 1]; given {type(image).__name__}")
    single = image.ndim == ndim + 1
    if not (single or image.ndim == ndim + 2) or image.shape[-1 - ndim] != channels or image.numel() == 0:
        size = SIZES[ndim]
        raise ShapeError(f"image must be (B, {channels}, {size}) or ({channels}, {size}); given {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ShapeError(f"image must be floating point in [0, 1]; given {image.dtype} (divide 8-bit images by 255)")
    low, high = (float(v) for v in image.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also catches NaN
        raise ShapeError(f"image must be in [0, 1]; its values span {low:.4g} .. {high:.4g}")
    if sampler is not None:
        entity = entity.replace(another_sampler(entity[Sampler], sampler))
    batch = entity[Task].prepare(image.detach()[None] if single else image.detach())
    if isinstance(noise, Tensor) and single and noise.ndim == image.ndim:
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
    return restored[0] if single else restored


def sample(entity: Entity, count: int | None = None, *, noise: Tensor | None = None, **options: Any) -> Tensor:
    """Images (N, C, *S) in [0, 1] drawn from noise, as by `samples`, all together on the device of `noise`."""
    found = samples(entity, count, noise=noise, **options)
    return torch.cat(list(found)).to("cpu" if noise is None else noise.device).clone()


def samples(
    entity: Entity,
    count: int | None = None,
    *,
    noise: Tensor | None = None,
    size: int | Sequence[int] | None = None,
    seed: int = 0,
    start: int = 0,
    steps: int | None = None,
    eta: float | None = None,
    sampler: Sampler | str | dict[str, object] | None = None,
    batch: int = 64,
    progress: bool = False,
) -> Iterator[Tensor]:
    """Images (N, C, *S) in [0, 1] drawn from noise, for tasks whose I_in is 0: on the CPU, batch by batch.

    Args:
        count: how many, N; image n is drawn from (seed, n) alone, whatever N and the batch.
        noise: the start noise itself, (N, C, *S), in place of count and size.
        size: (H, W), as many sides as `task.ndim`, or one; by default that of training.
        start: the number of the first image.
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
    for name, number, least in (("seed", seed, 0), ("start", start, 0), ("batch", batch, 1)):
        if not isinstance(number, int) or number < least:
            raise SpecError("sample", [((name,), f"must be an integer, at least {least}; given {number!r}")])
    if (count is None) == (noise is None):
        raise ShapeError("give how many images to draw, count, or their start noise (N, C, *S)")
    ndim = task.ndim
    sides = size if isinstance(size, Sequence) else entity[Training].crop_size(ndim) if size is None else (size,) * ndim
    shape = (count or 0, task.channels, *sides) if noise is None else tuple(getattr(noise, "shape", ()))
    if len(shape) != 2 + ndim or shape[1] != task.channels or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ShapeError(f"images are (N, {task.channels}, {SIZES[ndim]}), of at least one each; given {shape}")
    if sampler is not None:
        entity = entity.replace(another_sampler(entity[Sampler], sampler))
    device = next(network.parameters()).device
    for first in tqdm(range(0, shape[0], batch), desc="sample", disable=not progress, leave=False):
        numbers = range(first, min(first + batch, shape[0]))
        with torch.inference_mode():  # left before what is drawn is given away
            states = trajectory(
                entity,
                torch.zeros(len(numbers), *shape[1:], device=device),
                steps=steps,
                eta=eta,
                generator=[seeded(seed, 3, start + number) for number in numbers],
                noise=None if noise is None else noise[first : first + batch],
            )
            for state in states:
                x = state.x
            drawn = ((x + 1) / 2).clamp(0, 1).cpu()
        yield drawn.clone()


def another_sampler(own: Sampler, other: Sampler | str | dict[str, object]) -> Sampler:
    """The sampler that `other` means beside a model's own: itself, or a name or table, whose rest is as in `own`."""
    if isinstance(other, Sampler):
        return other
    if not isinstance(other, str | dict):
        raise SpecError("Spec", [(("sampler",), f"must be a name, a table or a Sampler; given {other!r}")])
    table = {"name": other} if isinstance(other, str) else other
    if fixed := sorted(
        {"nets", "clock"} & table.keys() - {key for key in table if table[key] == getattr(own, key, None)}
    ):
        problem = (
            f"is of the network that was trained, {', '.join(f'{k}: {getattr(own, k)}' for k in fixed)}; leave it out"
        )
        raise SpecError("Spec", [(("sampler", fixed[0]), problem)])
    same = table.get("name", own.name) == own.name
    keys = type(own).model_fields.keys() if same else Sampler.model_fields.keys() - {"nets", "clock"}
    return resolve(Sampler, {key: getattr(own, key) for key in keys} | table)
