"""The network of the paper: a U-Net with attention."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.backbones._dims import CONV, STD_CONV
from rddm.core.embedding import TimeEmbedding
from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone, Positive

GROUPS = 8  # of every group norm
HEADS, HEAD_WIDTH = 4, 32  # of every attention


class UNet(Backbone):
    """The paper's U-Net: at its defaults 36.26 M parameters, and 117.5 GMAC at 256x256 with 6 input channels.

    Level i works at 1 / 2^i of the size; `ndim` makes it one for signals or volumes. Attention is linear in the number
    of pixels on every level, and full in the middle only. Multiply-accumulates count convolutions and linear layers.
    With `decoders: 2` the encoder and the middle are shared by two decoders, each of which gives half of the output
    channels, in order: the paper's "1-Net, shared encoder". The first of them sees the middle alone, the second has the
    skips.

    Raises:
        SpecError: the output channels cannot be shared out equally.

    Source: RDDM (arXiv 2308.13712), whose network descends from DDPM's (arXiv 2006.11239, appendix B).
    """

    name: Literal["unet"] = "unet"
    width: int = Field(default=64, ge=GROUPS, multiple_of=GROUPS, description="channels of the stem, a multiple of 8")
    multipliers: tuple[Positive, ...] = Field(
        default=(1, 2, 4, 8), min_length=1, description="channels that each level hands down, in widths"
    )
    decoders: Literal[1, 2] = Field(default=1, description="2: one for each head, over a shared encoder")

    @property
    def multiple(self) -> int:
        return 1 << (len(self.multipliers) - 1)

    def build(self, in_chans: int, out_chans: int, times: int) -> UNetModule:
        if out_chans % self.decoders:
            problem = (
                f"{self.decoders} decoders cannot share {out_chans} output channels equally; a sampler with one head,"
                " or a network for each head (sampler.nets: 2), needs decoders: 1"
            )
            raise SpecError("backbone", [(("decoders",), problem)])
        skips = (True,) if self.decoders == 1 else (False, True)
        return UNetModule(self, skips, in_chans, out_chans, times)


class UNetModule(nn.Module):
    """x (B, in_chans, *S) and time (B, times) -> (B, out_chans, *S); a decoder for each of `skips`."""

    def __init__(self, recipe: UNet, skips: tuple[bool, ...], in_chans: int, out_chans: int, times: int) -> None:
        super().__init__()
        width, n = recipe.width, recipe.ndim
        chans = [width, *(width * multiplier for multiplier in recipe.multipliers)]
        embed, last = 4 * width, len(recipe.multipliers) - 1
        self.time = TimeEmbedding(times, width, embed)
        self.stem = CONV[n](in_chans, width, 7, padding=3)
        self.down = nn.ModuleList(Down(chans[i], chans[i + 1], embed, i < last, n) for i in range(last + 1))
        self.middle = Middle(chans[-1], embed, n)
        self.decoders = nn.ModuleList(Decoder(chans, out_chans // len(skips), embed, each, n) for each in skips)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = self.time(time)
        x = self.stem(x)
        skips = [x]
        for down in self.down:
            x, *pair = down(x, emb)
            skips += pair
        x = self.middle(x, emb)
        return torch.cat([decoder(x, emb, skips) for decoder in self.decoders], dim=1)


class Down(nn.Module):
    """Two blocks, attention, half the size (the same on the last level): x -> next x and two skips."""

    def __init__(self, chans: int, out_chans: int, embed: int, halve: bool, ndim: int) -> None:
        super().__init__()
        self.first = ResBlock(chans, chans, embed, ndim)
        self.second = ResBlock(chans, chans, embed, ndim)
        self.attention = LinearAttention(chans)
        kernel, stride = (4, 2) if halve else (3, 1)
        self.resize = CONV[ndim](chans, out_chans, kernel, stride, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.first(x, emb)
        second = self.attention(self.second(first, emb))
        return self.resize(second), first, second


class Middle(nn.Module):
    """Block, full attention, block."""

    def __init__(self, chans: int, embed: int, ndim: int) -> None:
        super().__init__()
        self.first = ResBlock(chans, chans, embed, ndim)
        self.attention = FullAttention(chans)
        self.second = ResBlock(chans, chans, embed, ndim)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y: Tensor = self.second(self.attention(self.first(x, emb)), emb)
        return y


class Decoder(nn.Module):
    """From the middle's output to the network's: the levels upwards, a block, and a 1x1 convolution.

    `skips` are the stem's output and two of each level, in order; a decoder without skips leaves them alone.
    """

    def __init__(self, chans: list[int], out_chans: int, embed: int, skips: bool, ndim: int) -> None:
        super().__init__()
        self.skips = skips
        last = len(chans) - 2
        self.up = nn.ModuleList(Up(chans[i + 1], chans[i], embed, i > 0, skips, ndim) for i in range(last, -1, -1))
        self.final = ResBlock((1 + skips) * chans[0], chans[0], embed, ndim)
        self.head = CONV[ndim](chans[0], out_chans, 1)

    def forward(self, x: Tensor, emb: Tensor, skips: list[Tensor]) -> Tensor:
        stack = list(skips) if self.skips else []
        for up in self.up:
            x = up(x, emb, stack)
        y: Tensor = self.head(self.final(_join(x, stack), emb))
        return y


class Up(nn.Module):
    """The mirror of Down, whose skips it takes: two blocks, attention, twice the size (the same on the last)."""

    def __init__(self, chans: int, out_chans: int, embed: int, double: bool, skips: bool, ndim: int) -> None:
        super().__init__()
        joined = chans + out_chans if skips else chans
        self.first = ResBlock(joined, chans, embed, ndim)
        self.second = ResBlock(joined, chans, embed, ndim)
        self.attention = LinearAttention(chans)
        self.resize = nn.Upsample(scale_factor=2.0, mode="nearest") if double else nn.Identity()
        self.conv = CONV[ndim](chans, out_chans, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor, stack: list[Tensor]) -> Tensor:
        x = self.first(_join(x, stack), emb)
        x = self.second(_join(x, stack), emb)
        y: Tensor = self.conv(self.resize(self.attention(x)))
        return y


def _join(x: Tensor, stack: list[Tensor]) -> Tensor:
    return torch.cat([x, stack.pop()], dim=1) if stack else x


class ResBlock(nn.Module):
    """Skip + two of (3x3 convolution, group norm, SiLU), the first norm scaled and shifted by the time.

    The convolutions' weights are standardised, for each output channel: Qiao et al. 2019 (arXiv 1903.10520).
    """

    def __init__(self, chans: int, out_chans: int, embed: int, ndim: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embed, 2 * out_chans)
        self.conv1 = STD_CONV[ndim](chans, out_chans, 3, padding=1)
        self.norm1 = nn.GroupNorm(GROUPS, out_chans)
        self.conv2 = STD_CONV[ndim](out_chans, out_chans, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, out_chans)
        self.skip = CONV[ndim](chans, out_chans, 1) if chans != out_chans else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        modulation = self.modulation(F.silu(emb)).reshape(emb.shape[0], -1, *[1] * (x.ndim - 2))
        scale, shift = modulation.chunk(2, dim=1)  # (B, C, 1, ..)
        y = F.silu(self.norm1(self.conv1(x)) * (1 + scale) + shift)
        y = F.silu(self.norm2(self.conv2(y)))
        out: Tensor = y + self.skip(x)
        return out


class LinearAttention(nn.Module):
    """x + norm(out(softmax_d(q) (softmax_n(k)^T v) / (n sqrt(d)))), linear in the number n of pixels; pre-normed.

    Over large images the attended values are so small that the last norm's eps and the bias before it count: the
    factor 1 / (n sqrt(d)) is part of the function that published weights were trained for.

    Source: Shen et al. 2018, "Efficient Attention" (arXiv 1812.01243), section 3.2; the factor is RDDM's.
    """

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(chans, bias=False)
        self.qkv = nn.Linear(chans, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(HEADS * HEAD_WIDTH, chans)
        self.out_norm = nn.LayerNorm(chans, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = _heads(self.qkv(self.norm(x.flatten(2).mT)))  # (B, heads, N, d)
        context = k.softmax(dim=-2).mT @ v / (k.shape[-2] * HEAD_WIDTH**0.5)  # (B, heads, d, d)
        y = (q.softmax(dim=-1) @ context).transpose(1, 2).flatten(2)  # (B, N, heads * d)
        x = x + self.out_norm(self.out(y)).mT.reshape(x.shape)
        return x


class FullAttention(nn.Module):
    """x + out(softmax_n(q k^T / sqrt(d)) v), pre-normed."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(chans, bias=False)
        self.qkv = nn.Linear(chans, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(HEADS * HEAD_WIDTH, chans)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = _heads(self.qkv(self.norm(x.flatten(2).mT)))  # (B, heads, N, d)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, heads * d)
        x = x + self.out(y).mT.reshape(x.shape)
        return x


def _heads(qkv: Tensor) -> list[Tensor]:
    batch, pixels, _ = qkv.shape
    return list(qkv.reshape(batch, pixels, 3, HEADS, HEAD_WIDTH).permute(2, 0, 3, 1, 4))
