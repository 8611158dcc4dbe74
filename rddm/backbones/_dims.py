"""Layers by the number of dimensions: of signals (B, C, L), images (B, C, H, W) and volumes (B, C, D, H, W)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class _Standardised:
    # weights at mean 0 and variance 1 for each output channel: timm has it for two dimensions only
    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0, eps=1e-5).reshape_as(self.weight)
        y: Tensor = self._conv_forward(x, weight, self.bias)
        return y


class StdConv1d(_Standardised, nn.Conv1d):
    """A convolution of standardised weights: Qiao et al. 2019 (arXiv 1903.10520)."""


class StdConv2d(_Standardised, nn.Conv2d):
    """As StdConv1d, of images."""


class StdConv3d(_Standardised, nn.Conv3d):
    """As StdConv1d, of volumes."""


STD_CONV: dict[int, type[StdConv1d] | type[StdConv2d] | type[StdConv3d]] = {1: StdConv1d, 2: StdConv2d, 3: StdConv3d}


def fold(x: Tensor, side: int) -> Tensor:
    """(B, C, *S) -> (B, C side^n, *S / side): every cell of `side` pixels a side becomes channels of one pixel."""
    n = x.ndim - 2
    if n == 2:
        return F.pixel_unshuffle(x, side)
    cells = x.reshape(*x.shape[:2], *(part for size in x.shape[2:] for part in (size // side, side)))
    cells = cells.permute(0, 1, *range(3, 3 + 2 * n, 2), *range(2, 2 + 2 * n, 2))
    return cells.flatten(1, 1 + n)


def unfold(x: Tensor, side: int) -> Tensor:
    """(B, C side^n, *S) -> (B, C, *S side): what `fold` undoes."""
    n = x.ndim - 2
    if n == 2:
        return F.pixel_shuffle(x, side)
    cells = x.reshape(x.shape[0], -1, *[side] * n, *x.shape[2:])
    cells = cells.permute(0, 1, *(axis for k in range(n) for axis in (2 + n + k, 2 + k)))
    return cells.reshape(x.shape[0], cells.shape[1], *(size * side for size in x.shape[2:]))
