"""The published U-Net, found in its weights: names and shapes beside those of `rddm.backbones.unet`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rddm.core.errors import CheckpointError
from rddm.core.kinds import Backbone
from rddm.core.named import resolve

STEM = "init_conv.weight"
State = Mapping[str, Tensor]

#: Decoders in order, as (levels, ending of the last parts): with skips; or a shared encoder's, the first without.
DECODERS = {1: (("ups", ""),), 2: (("ups_no_skip", "_1"), ("ups", "_2"))}


@dataclass(frozen=True)
class UNetFound:
    """The recipe of a published checkpoint's networks, and where their weights are."""

    recipe: Backbone
    names: dict[str, str]  # of every parameter: name here -> name there
    decoders: int
    channels: int
    conditions: int


def infer(networks: Mapping[str, State], file: Path) -> UNetFound:
    """The recipe that all the networks are of. Raises CheckpointError where there is none."""
    first = next(iter(networks.values()))
    decoders = 2 if any(key.startswith("ups_no_skip.") for key in first) else 1
    levels = len({key.split(".")[1] for key in first if key.startswith("downs.")})
    needed = [f"final_conv{DECODERS[decoders][0][1]}.weight", *(f"downs.{i}.3.weight" for i in range(levels))]
    if levels == 0 or (missing := [key for key in needed if key not in first]):
        raise CheckpointError(f"{file} fits no U-Net: it lacks {some(missing if levels else ['downs.0.3.weight'])}")
    if bad := [f"{key} of shape {tuple(first[key].shape)}" for key in (STEM, *needed) if first[key].ndim != 4]:
        raise CheckpointError(f"{file} fits no U-Net: {some(bad)} must be a convolution's, with four sizes")
    (width, in_chans), (channels, *handed) = first[STEM].shape[:2], (first[key].shape[0] for key in needed)
    if 0 in (width, channels) or width % 8 or any(chans % width for chans in handed) or in_chans % channels:
        raise CheckpointError(
            f"{file} fits no U-Net: its stem has {in_chans} channels in and {width} out, its levels hand down"
            f" {handed}, its end has {channels}; expected a width that is a multiple of 8, levels that are multiples"
            " of the width, and an input that is a multiple of the output"
        )
    recipe = resolve(
        Backbone, {"name": "unet", "width": width, "multipliers": [c // width for c in handed], "decoders": decoders}
    )
    with torch.device("meta"):
        here = recipe.build(in_chans, decoders * channels, 1).state_dict()
    renamed = _modules(levels, decoders)
    names = {
        key: renamed.get(key) or ".".join((renamed[key.rpartition(".")[0]], key.rpartition(".")[2])) for key in here
    }
    for prefix, net in networks.items():
        shapes = {names[key]: tuple(value.shape) for key, value in here.items()}
        problems = [f"lacks {key}" for key in sorted(shapes.keys() - net.keys())]
        problems += [f"has {key}, which is unknown" for key in sorted(net.keys() - shapes.keys())]
        problems += [
            f"has {key} of shape {tuple(net[key].shape)}, expected {shape}"
            for key, shape in shapes.items()
            if key in net and _plain(net[key].shape) != _plain(shape)
        ]
        if problems:
            raise CheckpointError(f"{file} fits no U-Net of width {width}: {prefix or 'its network'} {some(problems)}")
    return UNetFound(recipe, names, decoders, channels, in_chans // channels - 1)


def _plain(shape: Sequence[int]) -> list[int]:
    # 1x1 convolutions there are linear layers here
    return [size for size in shape if size != 1]


def _modules(levels: int, decoders: int) -> dict[str, str]:
    """Modules, and parameters that are named in another way, of one network: name here -> name there."""
    return dict(_pairs(levels, decoders))


def _pairs(levels: int, decoders: int) -> Iterator[tuple[str, str]]:
    yield from (("time.hidden", "time_mlp.1"), ("time.out", "time_mlp.3"), ("stem", "init_conv"))
    for i in range(levels):
        yield from _level(f"down.{i}", f"downs.{i}")
        yield f"down.{i}.resize", f"downs.{i}.3"
    yield from _block("middle.first", "mid_block1")
    yield from _attention("middle.attention", "mid_attn", "to_out")
    yield from _block("middle.second", "mid_block2")
    for k, (ups, ending) in enumerate(DECODERS[decoders]):
        for i in range(levels):
            yield from _level(f"decoders.{k}.up.{i}", f"{ups}.{i}")
            yield f"decoders.{k}.up.{i}.conv", f"{ups}.{i}.3" + (".1" if i < levels - 1 else "")
        yield from _block(f"decoders.{k}.final", f"final_res_block{ending}")
        yield f"decoders.{k}.head", f"final_conv{ending}"


def _level(here: str, there: str) -> Iterator[tuple[str, str]]:
    yield from _block(f"{here}.first", f"{there}.0")
    yield from _block(f"{here}.second", f"{there}.1")
    yield from _attention(f"{here}.attention", f"{there}.2", "to_out.0")
    yield f"{here}.attention.out_norm.weight", f"{there}.2.fn.fn.to_out.1.g"


def _block(here: str, there: str) -> Iterator[tuple[str, str]]:
    parts = {"modulation": "mlp.1", "skip": "res_conv"}
    parts |= {f"{part}{k}": f"block{k}.{name}" for k in (1, 2) for part, name in (("conv", "proj"), ("norm", "norm"))}
    yield from ((f"{here}.{part}", f"{there}.{name}") for part, name in parts.items())


def _attention(here: str, there: str, out: str) -> Iterator[tuple[str, str]]:
    yield f"{here}.norm.weight", f"{there}.fn.norm.g"
    yield f"{here}.qkv", f"{there}.fn.fn.to_qkv"
    yield f"{here}.out", f"{there}.fn.fn.{out}"


def some(items: Iterable[str]) -> str:
    """The first six, sorted, and how many more."""
    listed = sorted(items)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")
