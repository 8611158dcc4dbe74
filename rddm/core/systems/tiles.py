"""A network's predictions of large images, tile by tile, so that a tile bounds the memory of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from types import EllipsisType

import torch
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.network import Network, Times

#: The side of tiles in pixels, for all dimensions or for each; 0 for no tiles, None for the choice of `sides`.
Tile = int | Sequence[int] | None

WHOLE = 2**20  # pixels of the largest image that is evaluated whole unless tiles are asked for
AREA = 2**18  # pixels of a tile then


def predict(
    network: Network, seen: Tensor, times: Times, heads: Sequence[str], tile: Tile = None, overlap: int | None = None
) -> dict[str, Tensor]:
    """Predictions by head, (B, C, *S), each the average of those of the tiles that cover a pixel.

        y = sum_k w_k y_k,   sum_k w_k = 1 at every pixel

    An overlap's outer quarters have weight 0 in the tile that ends there, and w is a raised cosine between them, so
    that a network that sees no further than overlap / 4 predicts what it does of the whole image. Tiles start at
    multiples of what the network takes, evenly spread, and are evaluated one after the other.

    Args:
        seen: state and conditions (B, C + K, *S).
        tile: as in `Tile`, rounded up to what the network takes.
        overlap: pixels that neighbouring tiles share at least; by default 32, or what the tile allows.

    Raises:
        SpecError: tile or overlap is no such number, or the overlap is above half of the tile.
    """
    size, multiple = tuple(seen.shape[2:]), network.multiple
    axes = [_cuts(n, side, overlap, multiple) for n, side in zip(size, sides(size, tile), strict=True)]
    if all(len(cuts) == 1 for cuts in axes):
        whole: dict[str, Tensor] = network(seen, times, heads)
        return whole
    total: dict[str, Tensor] = {}
    for cut in product(*axes):
        where: tuple[EllipsisType | slice, ...] = (..., *(place for place, _ in cut))
        for head, y in network(seen[where], times, heads).items():
            if head not in total:
                total[head] = y.new_zeros(*y.shape[:2], *size)
            for dim, (_, weights) in enumerate(cut, start=2):
                y = y * weights.to(y.dtype).to(y.device).reshape(-1, *[1] * (y.ndim - dim - 1))
            total[head][where] += y
    return total


def sides(size: Sequence[int], tile: Tile) -> list[int]:
    """The side of tiles in each dimension, 0 where there are none.

    By default images of at most `WHOLE` pixels are whole, and larger ones in tiles of `AREA` pixels, 512 x 512.
    """
    if tile is None:
        tile = 0 if prod(size) <= WHOLE else round(AREA ** (1 / len(size)))
    found = list(tile) if isinstance(tile, Sequence) else [tile] * len(size)
    if len(found) != len(size) or any(not isinstance(side, int) or side < 0 for side in found):
        problem = f"must be a number of pixels, or {len(size)} of them, 0 for no tiles; given {tile!r}"
        raise SpecError("restore", [(("tile",), problem)])
    return found


def _cuts(size: int, side: int, overlap: int | None, multiple: int) -> list[tuple[slice, Tensor]]:
    # the tiles along one dimension, each with its weights there
    side, whole = ceil(side / multiple) * multiple, ceil(size / multiple) * multiple
    most = min(side // 2, side - multiple)
    overlap = min(32, most) if overlap is None else overlap
    if side and (not isinstance(overlap, int) or not 0 <= overlap <= most):
        problem = f"must be in 0..{most} for tiles of {side} pixels; given {overlap!r}"
        raise SpecError("restore", [(("overlap",), problem)])
    if not 0 < side < whole:
        return [(slice(0, size), torch.ones(size, dtype=torch.float64))]
    count = 1 + ceil((whole - side) / ((side - overlap) // multiple * multiple))
    starts = [k * ((whole - side) // multiple) // (count - 1) * multiple for k in range(count)]
    ramp = torch.linspace(-0.5, 1.5, 2 * overlap + 1, dtype=torch.float64)[1::2].clamp(0, 1)
    rise = (torch.pi / 2 * ramp).sin() ** 2
    windows = torch.zeros(count, whole, dtype=torch.float64)
    for window, start in zip(windows, starts, strict=True):
        window[start : start + side] = 1
        if start > 0:
            window[start : start + overlap] *= rise
        if start + side < whole:
            window[start + side - overlap : start + side] *= rise.flip(0)
    windows /= windows.sum(0)
    return [
        (slice(s, min(s + side, size)), window[s : s + side][: size - s])
        for s, window in zip(starts, windows, strict=True)
    ]
