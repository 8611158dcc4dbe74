"""A light convolutional network for restoration: NAFNet, told the time."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.backbones._dims import CONV, fold, unfold
from rddm.core.embedding import TimeEmbedding
from rddm.core.kinds import Backbone, Positive


class NAFNet(Backbone):
    """A U-shaped network of NAF blocks, made for a good result per second of CPU: 1.04 M parameters.

    Level i works at 1 / (patch 2^i) of the size with `width 2^i` channels, and the middle one below the last level.
    `ndim` makes it one for signals or volumes, with fewer or more parameters.

    Sources: Chen et al. 2022, "Simple Baselines for Image Restoration" (arXiv 2204.04676); the time input after
    IR-SDE (arXiv 2301.11699); the folded stem after Shi et al. 2016 (arXiv 1609.05158).

    Raises:
        SpecError: a size is below 1, or `enc_blocks` and `dec_blocks` do not list the same levels.
    """

    name: Literal["nafnet"] = "nafnet"
    width: Positive = Field(default=32, description="channels of the first level")
    patch: Positive = Field(default=2, description="side of the cell of pixels folded into channels at the stem")
    enc_blocks: tuple[Positive, ...] = Field(default=(1, 1), min_length=1, description="blocks of each level, down")
    middle_blocks: Positive = Field(default=4, description="blocks below the last level")
    dec_blocks: tuple[Positive, ...] = Field(
        default=(1, 1), description="blocks of each level, up, in the order of enc_blocks"
    )

    @field_validator("dec_blocks")
    @classmethod
    def _mirrors(cls, blocks: tuple[int, ...], given: ValidationInfo) -> tuple[int, ...]:
        levels = len(given.data.get("enc_blocks", blocks))
        if len(blocks) != levels:
            raise ValueError(f"list as many levels as enc_blocks does, {levels}")
        return blocks

    @property
    def multiple(self) -> int:
        return self.patch << len(self.enc_blocks)

    def build(self, in_chans: int, out_chans: int, times: int) -> NAFNetModule:
        return NAFNetModule(self, in_chans, out_chans, times)


class NAFNetModule(nn.Module):
    """x (B, in_chans, *S) and time (B, times) -> (B, out_chans, *S), at first all zeros.

    Inside, images are (B, *S, C), the layout in which a CPU is fastest: a pixel's channels lie side by side for
    the linear layers and the layer norm, and convolutions see the same memory as `channels_last`.
    """

    def __init__(self, recipe: NAFNet, in_chans: int, out_chans: int, times: int) -> None:
        super().__init__()
        width, levels, n = recipe.width, len(recipe.enc_blocks), recipe.ndim
        conv, area = CONV[n], recipe.patch**n
        chans = [width << level for level in range(levels + 1)]
        embed = 4 * width
        self.patch = recipe.patch
        self.time = TimeEmbedding(times, embed, embed)
        self.stem = conv(in_chans * area, width, 3, padding=1)
        self.encoders = nn.ModuleList(Blocks(chans[i], recipe.enc_blocks[i], embed, n) for i in range(levels))
        self.downs = nn.ModuleList(conv(chans[i], chans[i + 1], 2, stride=2) for i in range(levels))
        self.middle = Blocks(chans[-1], recipe.middle_blocks, embed, n)
        self.ups = nn.ModuleList(nn.Linear(chans[i + 1], 2**n * chans[i], bias=False) for i in range(levels))
        self.decoders = nn.ModuleList(Blocks(chans[i], recipe.dec_blocks[i], embed, n) for i in range(levels))
        self.head = conv(width, out_chans * area, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = F.silu(self.time(time))
        x = _as_channels_last(fold(x, self.patch))
        x, skips = _channels_last(self.stem(x)), []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x, emb)
            skips.append(x)
            x = _channels_last(down(_channels_first(x)))
        x = self.middle(x, emb)
        for up, blocks in zip(reversed(self.ups), reversed(self.decoders), strict=True):
            x = blocks(_channels_last(unfold(_channels_first(up(x)), 2)) + skips.pop(), emb)
        return unfold(self.head(_channels_first(x)), self.patch)


class Blocks(nn.ModuleList):
    """Blocks one after the other, each told the time."""

    def __init__(self, chans: int, depth: int, embed: int, ndim: int) -> None:
        super().__init__(NAFBlock(chans, embed, ndim) for _ in range(depth))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block in self:
            x = block(x, emb)
        return x


class NAFBlock(nn.Module):
    """x (B, *S, C) + spatial mixing, then + channel mixing, both normalised and modulated by the time.

        y = beta  * out1(attend(gate(depthwise(in1(s1 * norm(x) + b1)))))
        z = gamma * out2(gate(in2(s2 * norm(x + y) + b2)))

    gate halves the channels and multiplies the halves; attend multiplies by a linear map of the mean over pixels.
    The time gives s and b, at first 1 and 0; beta and gamma are one number a channel.
    """

    def __init__(self, chans: int, embed: int, ndim: int) -> None:
        super().__init__()
        self.space = tuple(range(1, 1 + ndim))
        self.modulation = nn.Linear(embed, 4 * chans)
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)
        self.norm = nn.LayerNorm(chans, elementwise_affine=False)
        self.in1 = nn.Linear(chans, 2 * chans)
        self.depthwise = CONV[ndim](2 * chans, 2 * chans, 3, padding=1, groups=2 * chans)
        self.attend = nn.Linear(chans, chans)
        self.out1 = nn.Linear(chans, chans)
        self.in2 = nn.Linear(chans, 2 * chans)
        self.out2 = nn.Linear(chans, chans)
        self.beta = nn.Parameter(torch.zeros(chans))
        self.gamma = nn.Parameter(torch.zeros(chans))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        modulation = self.modulation(emb).reshape(emb.shape[0], *[1] * len(self.space), -1)
        s1, b1, s2, b2 = modulation.chunk(4, dim=-1)  # (B, 1, .., C)
        y = torch.addcmul(b1, self.norm(x), 1 + s1)
        y = _gate(_channels_last(self.depthwise(_channels_first(self.in1(y)))))
        y = y * self.attend(y.mean(dim=self.space, keepdim=True))
        x = torch.addcmul(x, self.out1(y), self.beta)
        y = torch.addcmul(b2, self.norm(x), 1 + s2)
        return torch.addcmul(x, self.out2(_gate(self.in2(y))), self.gamma)


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return a * b


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)  # (B, *S, C) -> (B, C, *S)


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)  # (B, C, *S) -> (B, *S, C)


def _as_channels_last(x: Tensor) -> Tensor:
    return _channels_first(_channels_last(x).contiguous())  # (B, C, *S), laid out in memory as (B, *S, C)
