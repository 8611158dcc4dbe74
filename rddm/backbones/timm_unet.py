"""A U-shaped network on any encoder of timm."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, StrictBool, ValidationInfo, field_validator
from timm import list_models
from timm.layers import ConvMlp, LayerNorm2d
from timm.models import split_model_name_tag
from torch import Tensor, nn
from torch.nn import functional as F

from rddm.backbones import _timm
from rddm.core.embedding import TimeEmbedding
from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone, Positive

RESERVED = {"features_only", "in_chans", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"}


class TimmUNet(Backbone):
    """timm's `encoder`, a stem of small strides beside it, and a light decoder that is told the time.

    At its defaults 5.6 M parameters, 3.4 M of them the encoder's. The stem folds squares of `patch` pixels into
    channels, so that nothing of the image is lost, and stands in at strides below the encoder's first; features
    at strides below `patch` are left out. Every feature, and every block of the decoder, is normalised, and scaled
    and shifted by the time, at first by 1 and 0.

    Batch norms would mix images of all times: group norms take their place, or they are frozen where their
    statistics are pretrained. Weights are fetched when a network is made to be trained; a trained model needs none.

    Raises:
        SpecError: timm has no such encoder, it gives no features or not at any size, or there are no such weights.

    Sources: timm, https://github.com/huggingface/pytorch-image-models; the decoder's blocks after ConvNeXt
    (arXiv 2201.03545).
    """

    name: Literal["timm-unet"] = "timm-unet"
    ndim: Literal[2] = Field(default=2, description="images only")
    encoder: str = Field(default="convnext_atto", description="a name of timm.list_models(), with or without a tag")
    pretrained: StrictBool | Path = Field(default=False, description="true: timm's own weights; or a checkpoint file")
    norm: Literal["group", "frozen"] | None = Field(
        default=None, description="for batch norms in the encoder; by default frozen if pretrained, else group"
    )
    out_indices: tuple[int, ...] | None = Field(
        default=None, min_length=1, description="the features to use, counted by timm from 0; by default all"
    )
    args: dict[str, Any] = Field(default_factory=dict, description="further arguments of timm.create_model")
    width: Positive = Field(default=32, description="channels of the first level; each doubles them, up to eightfold")
    patch: Literal[1, 2, 4] = Field(default=2, description="side of the square of pixels folded into channels")
    blocks: Positive = Field(default=1, description="blocks of each level of the decoder")

    @field_validator("encoder")
    @classmethod
    def _known(cls, encoder: str) -> str:
        if split_model_name_tag(encoder)[0] not in (known := list_models()):
            near = get_close_matches(encoder.lower(), known, n=5)
            hint = f"near it: {', '.join(near)}; " if near else ""
            raise ValueError(f"timm has no such encoder; {hint}timm.list_models() has all {len(known)}")
        return encoder

    @field_validator("norm")
    @classmethod
    def _learnt(cls, norm: str | None, given: ValidationInfo) -> str | None:
        if norm == "frozen" and not given.data.get("pretrained", True):
            raise ValueError("'frozen' needs statistics that are learnt: pretrained weights; or say group")
        return norm

    @field_validator("args")
    @classmethod
    def _alone(cls, args: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(RESERVED & args.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        try:
            args = json.loads(json.dumps(args))  # tuples become lists, as in a spec that is read back
        except TypeError as cause:
            raise ValueError(f"must be what JSON can hold: {cause}") from cause
        return args

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def plan(self) -> _timm.Plan:
        """What the encoder gives and needs."""
        indices = {} if self.out_indices is None else {"out_indices": self.out_indices}
        return _timm.plan(self.encoder, json.dumps(self.args | indices, sort_keys=True))

    @property
    def multiple(self) -> int:
        return max(self.plan.multiple, self.patch)

    def build(self, in_chans: int, out_chans: int, times: int) -> TimmUNetModule:
        return TimmUNetModule(self, in_chans, out_chans, times)

    def initialise(self, network: nn.Module) -> None:
        if self.pretrained and isinstance(network, TimmUNetModule):
            file = self.pretrained if isinstance(self.pretrained, Path) else None
            net = _timm.pretrained(self.plan, network.in_chans, file)
            network.encoder.load_state_dict(self.encoding(net).state_dict())

    def encoding(self, net: nn.Module) -> _timm.Encoder:
        """timm's network as an encoder, without batch norms."""
        return _timm.Encoder(self.plan, net, self.norm or ("frozen" if self.pretrained else "group"))


class TimmUNetModule(nn.Module):
    """x (B, in_chans, H, W) and time (B, times) -> (B, out_chans, H, W), at first all zeros.

    Level i works at stride patch 2^i, the last one at the encoder's largest.
    """

    def __init__(self, recipe: TimmUNet, in_chans: int, out_chans: int, times: int) -> None:
        super().__init__()
        plan, patch, embed = recipe.plan, recipe.patch, 4 * recipe.width
        self.in_chans, self.patch = in_chans, patch
        self.levels = [(stride // patch).bit_length() - 1 for stride in plan.strides]  # -1: left out
        if max(self.levels) < 0:
            problem = f"gives features at strides {plan.strides} only, all below patch, {patch}"
            raise SpecError("backbone", [(("encoder",), f"{recipe.encoder!r} {problem}")])
        first, last = min(level for level in self.levels if level >= 0), max(self.levels)
        chans = [recipe.width << min(level, 3) for level in range(last + 1)]
        self.time = TimeEmbedding(times, embed, embed)
        self.encoder = recipe.encoding(plan.create(in_chans))
        self.stem = nn.Conv2d(in_chans * patch**2, chans[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(chans[i], chans[i + 1], 2, stride=2) for i in range(first - 1))
        pairs = zip(plan.chans, self.levels, strict=True)
        self.skips = nn.ModuleList(Skip(c, chans[i], embed) if i >= 0 else nn.Identity() for c, i in pairs)
        self.ups = nn.ModuleList(nn.Conv2d(chans[i + 1], 4 * chans[i], 1, bias=False) for i in range(last))
        self.decoders = nn.ModuleList(Blocks(c, recipe.blocks, embed) for c in chans)
        self.head = nn.Conv2d(chans[0], out_chans * patch**2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        emb = F.silu(self.time(time))
        joined = {0: self.stem(F.pixel_unshuffle(x, self.patch))}
        for level, down in enumerate(self.downs):
            joined[level + 1] = down(joined[level])
        for level, skip, feature in zip(self.levels, self.skips, self.encoder(x), strict=True):
            if level >= 0:
                new = skip(feature, emb)
                joined[level] = joined[level] + new if level in joined else new
        y = joined[max(self.levels)]
        for level in range(max(self.levels), -1, -1):
            y = self.decoders[level](y, emb)
            if level:
                y = F.pixel_shuffle(self.ups[level - 1](y), 2)
                y = y + joined[level - 1] if level - 1 in joined else y
        return F.pixel_shuffle(self.head(y), self.patch)


class Told(nn.Module):
    """x (B, C, H, W) normalised over the channels, then scaled and shifted by the time, at first by 1 and 0."""

    def __init__(self, chans: int, embed: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(chans, affine=False)
        self.modulation = nn.Linear(embed, 2 * chans)
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulation(emb)[..., None, None].chunk(2, dim=1)  # (B, C, 1, 1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class Skip(nn.Module):
    """A feature, told the time, in the decoder's channels."""

    def __init__(self, chans: int, out_chans: int, embed: int) -> None:
        super().__init__()
        self.told = Told(chans, embed)
        self.conv = nn.Conv2d(chans, out_chans, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y: Tensor = self.conv(self.told(x, emb))
        return y


class Blocks(nn.ModuleList):
    """Blocks one after the other, each told the time."""

    def __init__(self, chans: int, depth: int, embed: int) -> None:
        super().__init__(Block(chans, embed) for _ in range(depth))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block in self:
            x = block(x, emb)
        return x


class Block(nn.Module):
    """x + mlp(told(depthwise(x))), the mlp four times as wide inside."""

    def __init__(self, chans: int, embed: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(chans, chans, 7, padding=3, groups=chans)
        self.told = Told(chans, embed)
        self.mlp = ConvMlp(chans, 4 * chans, act_layer=nn.GELU)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y: Tensor = x + self.mlp(self.told(self.depthwise(x), emb))
        return y
