"""The network of the paper: a U-Net with attention."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from timm.layers import StdConv2d
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.backbones._time import TimeEmbedding
from rddm.core.kinds import Backbone, Positive

HEADS, HEAD_WIDTH = 4, 32  # of every attention
GROUPS = 8  # of every group norm


class UNet(Backbone):
    """The paper's U-Net: 36.26 M parameters and 117.5 GMAC at 256x256 with the defaults and 6 input channels.

    Level i works at 1 / 2^i of the size, with `width * multipliers[i]` channels below it. Attention is linear in
    the number of pixels on every level and full in the middle only.
    Sources: RDDM (arXiv 2308.13712), section 5 and supplement; DDPM (arXiv 2006.11239), appendix B.
    """

    name: Literal["unet"] = "unet"
    width: int = Field(default=64, ge=8, multiple_of=8, description="channels of the stem, for 8 groups: 8, 16, ...")
    multipliers: tuple[Positive, ...] = Field(
        default=(1, 2, 4, 8), min_length=1, description="channels that each level hands down, in widths"
    )

    @property
    def multiple(self) -> int:
        return int(2 ** (len(self.multipliers) - 1))

    def build(self, in_chans: int, out_chans: int, times: int) -> UNetModule:
        return UNetModule(self.width, self.multipliers, in_chans, out_chans, times)


class UNetModule(nn.Module):
    """x (B, in_chans, H, W) and time (B, times) -> (B, out_chans, H, W)."""

    def __init__(
        self, width: int, multipliers: tuple[int, ...], in_chans: int, out_chans: int, times: int
    ) -> None:
        super().__init__()
        chans = [width, *(width * m for m in multipliers)]
        last = len(multipliers) - 1
        embed = 4 * width
        self.time = TimeEmbedding(times, width, embed)
        self.stem = nn.Conv2d(in_chans, width, 7, padding=3)
        self.down = nn.ModuleList(
            Down(chans[i], chans[i + 1], embed, halve=i < last) for i in range(last + 1)
        )
        self.middle = Middle(chans[-1], embed)
        self.up = nn.ModuleList(Up(chans[i + 1], chans[i], embed, double=i > 0) for i in range(last, -1, -1))
        self.final = ResBlock(2 * width, width, embed)
        self.head = nn.Conv2d(width, out_chans, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = self.time(time)
        x = stem = self.stem(x)
        skips = []
        for down in self.down:
            x, *pair = down(x, emb)
            skips.append(pair)
        x = self.middle(x, emb)
        for up in self.up:
            x = up(x, emb, *skips.pop())
        y: Tensor = self.head(self.final(torch.cat([x, stem], dim=1), emb))
        return y


class Down(nn.Module):
    """Two blocks, linear attention, and half the size, or on the last level the same: x -> next x, two skips."""

    def __init__(self, chans: int, out_chans: int, embed: int, halve: bool) -> None:
        super().__init__()
        self.first = ResBlock(chans, chans, embed)
        self.second = ResBlock(chans, chans, embed)
        self.attention = LinearAttention(chans)
        kernel, stride = (4, 2) if halve else (3, 1)
        self.resize = nn.Conv2d(chans, out_chans, kernel, stride, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.first(x, emb)
        second = self.attention(self.second(first, emb))
        return self.resize(second), first, second


class Middle(nn.Module):
    """Block, full attention, block."""

    def __init__(self, chans: int, embed: int) -> None:
        super().__init__()
        self.first = ResBlock(chans, chans, embed)
        self.attention = FullAttention(chans)
        self.second = ResBlock(chans, chans, embed)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y: Tensor = self.second(self.attention(self.first(x, emb)), emb)
        return y


class Up(nn.Module):
    """The mirror of Down: each block takes one of its skips; then twice the size, or on the last level the same."""

    def __init__(self, chans: int, out_chans: int, embed: int, double: bool) -> None:
        super().__init__()
        self.first = ResBlock(chans + out_chans, chans, embed)
        self.second = ResBlock(chans + out_chans, chans, embed)
        self.attention = LinearAttention(chans)
        self.resize = nn.Sequential(
            nn.Upsample(scale_factor=2 if double else 1), nn.Conv2d(chans, out_chans, 3, padding=1)
        )

    def forward(self, x: Tensor, emb: Tensor, first: Tensor, second: Tensor) -> Tensor:
        x = self.first(torch.cat([x, second], dim=1), emb)
        x = self.second(torch.cat([x, first], dim=1), emb)
        y: Tensor = self.resize(self.attention(x))
        return y


class ResBlock(nn.Module):
    """x + f(x), f = two of (weight-standardised 3x3, group norm, SiLU); the time scales and shifts the first.

    Weights are standardised for each output channel (Qiao et al., arXiv 1903.10520, eq. 6).
    """

    def __init__(self, chans: int, out_chans: int, embed: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embed, 2 * out_chans)
        self.conv1 = StdConv2d(chans, out_chans, 3, bias=True, eps=1e-5)
        self.norm1 = nn.GroupNorm(GROUPS, out_chans)
        self.conv2 = StdConv2d(out_chans, out_chans, 3, bias=True, eps=1e-5)
        self.norm2 = nn.GroupNorm(GROUPS, out_chans)
        self.skip = nn.Conv2d(chans, out_chans, 1) if chans != out_chans else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulation(F.silu(emb))[..., None, None].chunk(2, dim=1)
        y = F.silu(self.norm1(self.conv1(x)) * (1 + scale) + shift)
        y = F.silu(self.norm2(self.conv2(y)))
        return y + self.skip(x)  # type: ignore[no-any-return]


class LinearAttention(nn.Module):
    """x + norm(out(softmax_d(q) (softmax_n(k)^T v))): attention whose cost is linear in the number of pixels n.

    Source: Shen et al. 2018, "Efficient Attention" (arXiv 1812.01243), eq. 3.
    """

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(chans, bias=False)
        self.qkv = nn.Linear(chans, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.out = nn.Sequential(nn.Linear(HEADS * HEAD_WIDTH, chans), nn.LayerNorm(chans, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        q, k, v = self.qkv(self.norm(tokens)).unflatten(-1, (3, HEADS, HEAD_WIDTH)).unbind(2)  # (B, N, heads, d)
        context = torch.einsum("bnhd,bnhe->bhde", k.softmax(dim=1), v)
        y = torch.einsum("bnhd,bhde->bnhe", q.softmax(dim=-1), context).flatten(2)
        return x + self.out(y).transpose(1, 2).reshape(x.shape)


class FullAttention(nn.Module):
    """x + out(softmax(q k^T / sqrt(d)) v)."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(chans, bias=False)
        self.qkv = nn.Linear(chans, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(HEADS * HEAD_WIDTH, chans)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        q, k, v = self.qkv(self.norm(tokens)).unflatten(-1, (3, HEADS, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, heads * d)
        return x + self.out(y).transpose(1, 2).reshape(x.shape)
