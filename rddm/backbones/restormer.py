"""A transformer for restoration whose cost is linear in the number of pixels: Restormer, told the time."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.core.embedding import TimeEmbedding
from rddm.core.kinds import Backbone, Positive


class Restormer(Backbone):
    """A U-shaped transformer that attends over channels instead of pixels: 1.32 M parameters.

    Level i works at 1 / (patch 2^i) of the size with `width 2^i` channels; the last one is the bottom. The first
    level has twice the channels on the way up, and its blocks there are followed by `refinement` more. The paper's
    own size is `width: 48, patch: 1, blocks: [4, 6, 6, 8], heads: [1, 2, 4, 8], refinement: 4`.

    Raises:
        SpecError: a size is below 1, `heads` and `blocks` do not list the same levels, or the channels of a level
            cannot be shared out equally among its heads.

    Sources: Zamir et al. 2022, "Restormer" (arXiv 2111.09881); the time input after Peebles and Xie 2023, "DiT"
    (arXiv 2212.09748), section 3.2, adaLN-Zero.
    """

    name: Literal["restormer"] = "restormer"
    ndim: Literal[2] = Field(default=2, description="images only")
    width: Positive = Field(default=24, description="channels of the first level")
    patch: Positive = Field(default=2, description="side of the square of pixels folded into channels at the stem")
    blocks: tuple[Positive, ...] = Field(default=(1, 2, 4), min_length=1, description="blocks of each level, each way")
    heads: tuple[Positive, ...] = Field(default=(1, 2, 4), description="heads of attention of each level")
    refinement: int = Field(default=1, ge=0, description="blocks after the last level")
    expansion: float = Field(default=2.66, gt=0, description="channels inside a feed-forward, in those outside")

    @field_validator("heads")
    @classmethod
    def _shared(cls, heads: tuple[int, ...], given: ValidationInfo) -> tuple[int, ...]:
        levels, width = len(given.data.get("blocks", heads)), given.data.get("width", 0)
        if len(heads) != levels:
            raise ValueError(f"list as many levels as blocks does, {levels}")
        for level, count in enumerate(heads):
            if (width << level) % count:
                raise ValueError(f"level {level} has {width << level} channels, no multiple of {count} heads")
        return heads

    @property
    def multiple(self) -> int:
        return self.patch << (len(self.blocks) - 1)

    def build(self, in_chans: int, out_chans: int, times: int) -> RestormerModule:
        return RestormerModule(self, in_chans, out_chans, times)


class RestormerModule(nn.Module):
    """x (B, in_chans, H, W) and time (B, times) -> (B, out_chans, H, W), at first all zeros."""

    def __init__(self, recipe: Restormer, in_chans: int, out_chans: int, times: int) -> None:
        super().__init__()
        width, area, last = recipe.width, recipe.patch**2, len(recipe.blocks) - 1
        chans, embed = [width << level for level in range(last + 1)], 4 * width
        wide = [2 * width if last else width, *chans[1:]]  # on the way up
        self.patch = recipe.patch

        def blocks(chans: int, level: int, depth: int) -> Blocks:
            return Blocks(chans, recipe.heads[level], int(recipe.expansion * chans), depth, embed)

        self.time = TimeEmbedding(times, embed, embed)
        self.stem = nn.Conv2d(in_chans * area, width, 3, padding=1, bias=False)
        self.encoders = nn.ModuleList(blocks(chans[i], i, recipe.blocks[i]) for i in range(last))
        self.downs = nn.ModuleList(nn.Conv2d(c, c // 2, 3, padding=1, bias=False) for c in chans[:-1])
        self.middle = blocks(chans[-1], last, recipe.blocks[-1])
        self.ups = nn.ModuleList(nn.Conv2d(c, 2 * c, 3, padding=1, bias=False) for c in chans[1:])
        # the first level keeps what is joined
        joins = [nn.Conv2d(2 * c, c, 1, bias=False) for c in chans[1:last]]
        self.joins = nn.ModuleList([nn.Identity(), *joins][:last])
        self.decoders = nn.ModuleList(blocks(wide[i], i, recipe.blocks[i]) for i in range(last))
        self.refinement = blocks(wide[0], 0, recipe.refinement)
        self.head = nn.Conv2d(wide[0], out_chans * area, 3, padding=1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = F.silu(self.time(time))
        x = self.stem(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        skips = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x, emb)
            skips.append(x)
            x = F.pixel_unshuffle(down(x), 2)
        x = self.middle(x, emb)
        ways = zip(reversed(self.ups), reversed(self.joins), reversed(self.decoders), strict=True)
        for up, join, blocks in ways:
            x = blocks(join(torch.cat([F.pixel_shuffle(up(x), 2), skips.pop()], dim=1)), emb)
        return F.pixel_shuffle(self.head(self.refinement(x, emb)), self.patch)


class Blocks(nn.ModuleList):
    """Blocks one after the other, each told the time."""

    def __init__(self, chans: int, heads: int, hidden: int, depth: int, embed: int) -> None:
        super().__init__(Block(chans, heads, hidden, embed) for _ in range(depth))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block in self:
            x = block(x, emb)
        return x


class Block(nn.Module):
    """x (B, C, H, W) + attention, then + feed-forward, both normalised, modulated and gated by the time.

        y = x + g1 * attention(s1 * norm(x) + b1)
        z = y + g2 * feed_forward(s2 * norm(y) + b2)

    norm is over the channels of a pixel. The time gives s, b and g, at first 1, 0 and 0.
    """

    def __init__(self, chans: int, heads: int, hidden: int, embed: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embed, 6 * chans)
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)
        self.norm = LayerNorm2d(chans, affine=False)
        self.attention = ChannelAttention(chans, heads)
        self.feed_forward = GatedFeedForward(chans, hidden)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        s1, b1, g1, s2, b2, g2 = self.modulation(emb)[..., None, None].chunk(6, dim=1)  # (B, C, 1, 1)
        x = torch.addcmul(x, self.attention(torch.addcmul(b1, self.norm(x), 1 + s1)), g1)
        return torch.addcmul(x, self.feed_forward(torch.addcmul(b2, self.norm(x), 1 + s2)), g2)


class ChannelAttention(nn.Module):
    """out(softmax(tau q k^T) v) of each head, where q, k and v are (d, N), d of the channels by all N pixels.

    q, k, v = depthwise(linear(x)); the rows of q and k have length 1; tau is one number a head.
    Source: Restormer, equation 1, "multi-Dconv head transposed attention".
    """

    def __init__(self, chans: int, heads: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(chans, 3 * chans, 1, bias=False)
        self.depthwise = nn.Conv2d(3 * chans, 3 * chans, 3, padding=1, groups=3 * chans, bias=False)
        self.out = nn.Conv2d(chans, chans, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.depthwise(self.qkv(x)).flatten(2).unflatten(1, (3, len(self.tau), -1))  # (B, 3, heads, d, N)
        q, k, v = qkv.unbind(1)
        weights = torch.softmax(self.tau * (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT), dim=-1)
        y: Tensor = self.out((weights @ v).reshape(x.shape))
        return y


class GatedFeedForward(nn.Module):
    """out(gelu(a) * b) where a, b = depthwise(linear(x)). Source: Restormer, equation 2."""

    def __init__(self, chans: int, hidden: int) -> None:
        super().__init__()
        self.into = nn.Conv2d(chans, 2 * hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.out = nn.Conv2d(hidden, chans, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.depthwise(self.into(x)).chunk(2, dim=1)
        y: Tensor = self.out(F.gelu(a) * b)
        return y
