"""A U-shaped network of wavelet convolutions, told the time."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.plugin import Backbone, Positive, TimeEmbedding
from rddm_underwater.haar import haar, unhaar


class WTConvUNet(Backbone):
    """Blocks of wavelet convolutions at several sizes, between Haar transforms: 1.1 M parameters.

    The network works on the Haar bands of its input and gives those of its output. Level i has `width 2^i` channels at
    1 / 2^(i + 1) of the size, and Haar transforms lead from level to level, too. Of L levels, blocks at level i take
    wavelets of L + 1 - i octaves, so that all reach equally far; no layer averages over the whole image.

    Raises:
        SpecError: a size is below 1, or `enc_blocks` and `dec_blocks` do not list the same levels.

    Source: Finder, Amoyal, Treister, Freifeld, "Wavelet convolutions for large receptive fields" (arXiv 2407.05848).
    """

    name: Literal["underwater-wtconv"] = "underwater-wtconv"
    ndim: Literal[2] = Field(default=2, description="images only")
    width: Positive = Field(default=32, description="channels of the first level")
    enc_blocks: tuple[Positive, ...] = Field(default=(1, 1), min_length=1, description="blocks of each level, down")
    middle_blocks: Positive = Field(default=6, description="blocks below the last level")
    dec_blocks: tuple[Positive, ...] = Field(default=(1, 1), description="blocks of each level, up, in the same order")

    @field_validator("dec_blocks")
    @classmethod
    def _mirrors(cls, blocks: tuple[int, ...], given: ValidationInfo) -> tuple[int, ...]:
        levels = len(given.data.get("enc_blocks", blocks))
        if len(blocks) != levels:
            raise ValueError(f"list as many levels as enc_blocks does, {levels}")
        return blocks

    @property
    def multiple(self) -> int:
        return 4 << len(self.enc_blocks)

    def build(self, in_chans: int, out_chans: int, times: int) -> Network:
        return Network(self, in_chans, out_chans, times)


class Network(nn.Module):
    """x (B, in_chans, H, W) and time (B, times) -> (B, out_chans, H, W), at first all zeros."""

    def __init__(self, recipe: WTConvUNet, in_chans: int, out_chans: int, times: int) -> None:
        super().__init__()
        levels, width = len(recipe.enc_blocks), recipe.width
        chans = [width << level for level in range(levels + 1)]
        octaves = [levels + 1 - level for level in range(levels + 1)]
        counts = (*recipe.enc_blocks, recipe.middle_blocks)
        self.time = nn.Sequential(TimeEmbedding(times, 4 * width, 4 * width), nn.SiLU())
        self.stem = nn.Conv2d(4 * in_chans, width, 3, padding=1)
        self.down = nn.ModuleList(
            Blocks(c, count, 4 * width, o) for c, count, o in zip(chans, counts, octaves, strict=True)
        )
        self.shrink = nn.ModuleList(nn.Conv2d(4 * c, 2 * c, 1) for c in chans[:-1])
        self.grow = nn.ModuleList(nn.Conv2d(2 * c, 4 * c, 1) for c in chans[:-1])
        self.up = nn.ModuleList(
            Blocks(c, count, 4 * width, o)
            for c, count, o in zip(chans[:-1], recipe.dec_blocks, octaves[:-1], strict=True)
        )
        self.head = nn.Conv2d(width, 4 * out_chans, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = self.time(time)
        x = self.stem(haar(x).contiguous(memory_format=torch.channels_last))
        x, skips = self.down[0](x, emb), []
        for shrink, blocks in zip(self.shrink, list(self.down)[1:], strict=True):
            skips.append(x)
            x = blocks(shrink(haar(x)), emb)
        for grow, blocks in zip(reversed(self.grow), reversed(self.up), strict=True):
            x = blocks(unhaar(grow(x)) + skips.pop(), emb)
        return unhaar(self.head(x)).contiguous()


class Blocks(nn.ModuleList):
    """Blocks one after the other, each told the time."""

    def __init__(self, chans: int, count: int, embed: int, octaves: int) -> None:
        super().__init__(Block(chans, embed, octaves) for _ in range(count))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block in self:
            x = block(x, emb)
        return x


class Block(nn.Module):
    """x (B, C, H, W) + gamma out(gate(in(s norm(wtconv(x)) + b))): gate halves the channels and multiplies the halves.

    The time gives s and b, at first 1 and 0.
    """

    def __init__(self, chans: int, embed: int, octaves: int) -> None:
        super().__init__()
        self.mix = WTConv(chans, octaves)
        self.norm = nn.LayerNorm(chans, elementwise_affine=False)
        self.modulation = nn.Linear(embed, 2 * chans)
        self.into = nn.Linear(chans, 4 * chans)
        self.out = nn.Linear(2 * chans, chans)
        self.gamma = nn.Parameter(torch.full((chans,), 0.1))
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        s, b = self.modulation(emb)[:, None, None].chunk(2, dim=-1)  # (B, 1, 1, C)
        y = torch.addcmul(b, self.norm(self.mix(x).movedim(1, -1)), 1 + s)  # (B, H, W, C)
        one, other = self.into(y).chunk(2, dim=-1)
        return torch.addcmul(x, self.out(one * other).movedim(-1, 1), self.gamma[:, None, None])


class WTConv(nn.Module):
    """Depthwise convolution 3 x 3 of x (B, C, H, W) and of the Haar bands of x, of `octaves` sizes, all added up.

        y = conv_0(x) + z_1,   z_i = haar^-1(conv_i(haar(low_i-1)) + z_i+1 in the mean's place)

    with low_0 = x, and low_i the means among haar(low_i-1). H and W are multiples of 2^octaves.
    """

    def __init__(self, chans: int, octaves: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(chans, chans, 3, padding=1, groups=chans)
        wide = 4 * chans
        bands = [nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False) for _ in range(octaves)]
        for conv in bands:
            conv.weight.data.mul_(0.1)  # weak at first, as published
        self.bands = nn.ModuleList(bands)

    def forward(self, x: Tensor) -> Tensor:
        low, found = x, []
        for conv in self.bands:
            bands = haar(low)
            low = bands[:, ::4]
            found.append(conv(bands))
        z = unhaar(found.pop())
        while found:
            bands = found.pop()
            z = unhaar(bands) + F.interpolate(z, scale_factor=2.0) / 2  # haar^-1 of means alone repeats them
        y: Tensor = self.pixels(x) + z
        return y
