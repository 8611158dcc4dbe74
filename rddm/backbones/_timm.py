"""The feature encoders of timm: what each gives and needs, its norms, and its pretrained weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import file_exists, try_to_load_from_cache
from timm.layers import GroupNormAct, freeze_batch_norm_2d
from timm.models import get_pretrained_cfg, load_state_dict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rddm.core.errors import SpecError

CHANNELS = 6  # to try encoders with: not 3, which some are made for
WORKING = "resnet*, convnext*, efficientnet*, mobilenetv3*, regnet*, swin*, caformer*, pvt_v2*, vit_*_patch16*"


@dataclass(frozen=True)
class Plan:
    """What an encoder gives and needs, found out from its structure alone."""

    name: str
    args: str  # of timm.create_model, as JSON
    strides: tuple[int, ...]  # of its features, powers of two
    chans: tuple[int, ...]
    multiple: int  # sizes that it takes are multiples of this
    last: bool  # features come as (B, H, W, C)

    def create(self, in_chans: int, **given: Any) -> nn.Module:
        """timm's network, with random weights unless `given` says otherwise."""
        net: nn.Module = timm.create_model(
            self.name, features_only=True, in_chans=in_chans, **json.loads(self.args), **given
        )
        return net


class Encoder(nn.Module):
    """x (B, in_chans, H, W) -> a feature (B, C, H / stride, W / stride) for each of the plan's strides."""

    def __init__(self, plan: Plan, net: nn.Module, norm: str) -> None:
        super().__init__()
        self.last = plan.last
        self.net = freeze_batch_norm_2d(net) if norm == "frozen" else _grouped(net)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.net(x)
        return [y.permute(0, 3, 1, 2) for y in features] if self.last else list(features)


@cache
def plan(name: str, args: str) -> Plan:
    """The plan of timm's encoder `name` with arguments of `timm.create_model`, as JSON.

    Raises:
        SpecError: it gives no features, or not for every size and number of channels.
    """
    problem = ""
    for dynamic in ({}, {"dynamic_img_size": True}):  # the latter frees transformers that are made for one size
        found = Plan(name, json.dumps(json.loads(args) | dynamic, sort_keys=True), (), (), 1, False)
        try:
            with torch.device("meta"):
                net = found.create(CHANNELS).eval()
        except Exception as cause:  # timm raises many kinds
            if dynamic:
                break
            raise SpecError("backbone", [(("encoder",), f"timm makes no encoder of {name!r}: {cause}")]) from cause
        info: Any = net.feature_info
        strides, chans = tuple(info.reduction()), tuple(info.channels())
        if any(stride & (stride - 1) for stride in strides):
            problem = f"gives features at strides {strides}, which are no powers of two"
            break
        for multiple in (max(strides), 2 * max(strides)):
            layouts = {_layout(net, (a * multiple, b * multiple), strides, chans) for a, b in ((1, 2), (3, 1))}
            if layouts in ({"first"}, {"last"}):
                return Plan(name, found.args, strides, chans, multiple, layouts == {"last"})
            why = min(layouts - {"first", "last"})
            problem = problem or f"does not take images of any size and number of channels ({why})"
    raise SpecError("backbone", [(("encoder",), f"{name!r} {problem}; take one of {WORKING}")])


def _layout(net: nn.Module, size: tuple[int, int], strides: tuple[int, ...], chans: tuple[int, ...]) -> str:
    # where the channels of all features are, or why they are nowhere
    try:
        with torch.no_grad():
            shapes = [tuple(y.shape[1:]) for y in net(torch.empty(1, CHANNELS, *size, device="meta"))]
    except Exception as cause:  # timm raises many kinds
        return " ".join(str(cause).split())
    sizes = [(size[0] // stride, size[1] // stride) for stride in strides]
    if shapes == [(c, *s) for c, s in zip(chans, sizes, strict=True)]:
        return "first"
    if shapes == [(*s, c) for c, s in zip(chans, sizes, strict=True)]:
        return "last"
    return f"for {size} it gives {shapes}"


def _grouped(module: nn.Module) -> nn.Module:
    # group norms with the weights of the batch norms that they stand for
    if isinstance(module, _BatchNorm):
        chans = module.num_features
        # fewer than four values at a pixel could not be normalised where a feature is one pixel
        groups = max(n for n in range(1, 33) if chans % n == 0 and (n == 1 or chans >= 4 * n))
        norm = GroupNormAct(chans, groups, eps=module.eps, affine=module.affine, apply_act=False)
        norm.drop, norm.act = getattr(module, "drop", norm.drop), getattr(module, "act", norm.act)
        norm.load_state_dict({key: value for key, value in module.state_dict().items() if key in norm.state_dict()})
        return norm
    for name, child in module.named_children():
        if (new := _grouped(child)) is not child:
            setattr(module, name, new)
    return module


def pretrained(plan: Plan, in_chans: int, file: Path | None) -> nn.Module:
    """timm's network with pretrained weights: those of a checkpoint file or, without one, timm's own.

    Raises:
        SpecError: there are none, they cannot be fetched or read, or they are another network's.
    """
    given: dict[str, Any] = {"pretrained": True}
    try:
        if file is None:
            _reach(plan.name)
        else:
            given["pretrained_cfg_overlay"] = {"state_dict": load_state_dict(str(file), weights_only=True)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            fresh = plan.create(in_chans)
            torch.manual_seed(0)
            net = plan.create(in_chans, **given)
    except Exception as cause:  # timm, torch, safetensors and the hub raise many kinds
        raise _refused(plan.name, file, f"{type(cause).__name__}: {' '.join(str(cause).split()[:40])}") from cause
    # timm passes over what a checkpoint lacks, which then is as random as the same seed made it in both
    pairs = zip(fresh.named_parameters(), net.parameters(), strict=True)
    lacking = [key for (key, a), b in pairs if torch.equal(a, b) and (a != a.flatten()[0]).any()]
    if lacking:
        raise _refused(plan.name, file, f"it has no {lacking[0]}, and lacks {len(lacking)} of the weights")
    return net


def _reach(name: str) -> None:
    # raises at once where there is no network; a download would try again for minutes
    repository = (config := get_pretrained_cfg(name)) and config.hf_hub_id
    files = ("model.safetensors", "pytorch_model.bin")
    if repository and not any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        file_exists(repository, files[0])


def _refused(name: str, file: Path | None, problem: str) -> SpecError:
    if file is None:
        config = get_pretrained_cfg(name)
        known = f"model.safetensors of {config.hf_hub_id}" if config and config.hf_hub_id else "a checkpoint"
        text = (
            f"timm cannot get weights of {name!r} ({problem}); where there is no network, fetch {known} from the"
            " Hugging Face hub elsewhere and give its path, or say false for random weights"
        )
    else:
        text = f"{file} does not fit {name!r} ({problem}); give a checkpoint that timm saved of it"
    return SpecError("backbone", [(("pretrained",), text)])
