"""How good results are, of any program."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from rddm.core import images
from rddm.core.errors import DataError, ShapeError, SpecError
from rddm.core.folders import by_name, strangers
from rddm.core.kinds import ImageMetric, usual_metrics
from rddm.core.metrics import Choice, Seen, chosen, look, summary

#: A folder, a batch (N, C, H, W) or (N, C, D, H, W), or images (C, *S) in order or by name; tensors in [0, 1].
Images = str | Path | Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def evaluate(
    outputs: Images,
    targets: Images | None = None,
    *,
    inputs: Images | None = None,
    masks: Images | None = None,
    metrics: Choice | None = None,
    ndim: int = 2,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Mean scores of results of any program beside their targets, as `rddm.core.metrics.summary` gives them.

    Files are matched by relative path without suffix; tensors by name or, in sequences of equal length, by place.
    Outputs without a target and targets without an output are left out with a warning, and listed as "missing": {role:
    names}. What cannot be read, or differs in size, is left out with a warning, and listed as "errors": {name: why}.
    Alpha is left out, and grey beside colour is repeated. Where metrics of sets alone are asked for, outputs and
    targets need not be partners.

    Args:
        outputs: the results.
        targets: what they should be; metrics such as `is` need none.
        inputs: the degraded images, measured beside, as "input_psnr" and so on.
        masks: white where the shadow is, for metrics of regions.
        metrics: a name, table or instance, or several; by default PSNR and SSIM of RGB and of luma, and with masks the
            errors in LAB by region.
        ndim: what files hold: 1 for signals, 2 for images, 3 for volumes.
        limit: the first so many outputs only.

    Raises:
        DataError: a folder is missing or empty, or no output can be measured.
        ShapeError: tensors are no images in [0, 1], or sequences differ in length.
        SpecError: a metric is unknown, or lacks targets.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1, or None for all images; given {limit}")
    usual = (*usual_metrics(), *(() if masks is None else ("lab-mae",)))
    measured = chosen(usual if metrics is None else metrics, targets=targets is not None)
    if targets is None and (lost := [metric.name for metric in measured if metric.reference]):
        raise SpecError("metrics", [((), f"{', '.join(lost)} compare with targets; give them")])
    for metric in measured:
        metric.prepare()
    paired = any(isinstance(metric, ImageMetric) and metric.reference for metric in measured)
    given = {"output": outputs, "target": targets, "input": inputs, "mask": masks}
    sides = {role: _opened(role, one, ndim) for role, one in given.items() if one is not None}
    ordered = {role: len(side) for role, side in sides.items() if not isinstance(given[role], str | Path | Mapping)}
    if paired and len(set(ordered.values())) > 1:
        raise ShapeError(f"images in order must be equally many; given {ordered}")
    missing = _missing(sides, paired)
    apart = {} if paired else sides.pop("target", {})
    names = [name for name in sides["output"] if not paired or name in sides["target"]][:limit]
    seen: dict[str, Seen] = {}
    errors: dict[str, str] = {}
    for name in tqdm(names, "evaluate", unit="image", disable=not progress, leave=False):
        try:
            found = _read({role: side[name] for role, side in sides.items() if name in side}, ndim)
            extras = {"mask": found["mask"]} if "mask" in found else {}
            seen[name] = look(measured, found["output"], found.get("target"), source=found.get("input"), extras=extras)
        except (DataError, ShapeError) as error:
            errors[name] = str(error)
            warnings.warn(f"left out of evaluation: {name}: {error}", stacklevel=2)
    if not seen:
        name, why = next(iter(errors.items()))
        raise DataError(f"none of {len(names)} outputs can be measured; the first is {name}: {why}")
    others = (look(measured, target=_read({"target": one}, ndim)["target"]) for one in apart.values())
    listed = {"missing": missing, "errors": errors}
    return summary(measured, seen, others) | {key: value for key, value in listed.items() if value}


def _opened(role: str, given: Images, ndim: int) -> Mapping[str, Path | Tensor]:
    if isinstance(given, str | Path):
        return by_name(Path(os.path.expanduser(given)), ndim)
    if isinstance(given, Tensor) and given.ndim not in (4, 5):
        problem = f"a batch of {role}s is (N, C, H, W) or (N, C, D, H, W); given {tuple(given.shape)}"
        raise ShapeError(f"{problem}: give [image] for one image, and signals as a list")
    found = dict(given) if isinstance(given, Mapping) else {f"{n:06d}": image for n, image in enumerate(given)}
    for name, image in found.items():
        if not (isinstance(image, Tensor) and image.is_floating_point() and image.min() >= 0 and image.max() <= 1):
            raise ShapeError(f"{role} {name} must be a floating point tensor in [0, 1] (divide 8-bit images by 255)")
    if not found:
        raise DataError(f"there is no {role}; give at least one")
    return found


def _missing(sides: Mapping[str, Mapping[str, object]], paired: bool) -> dict[str, list[str]]:
    # names by the role that lacks them
    outputs, targets = sides["output"], sides.get("target", {})
    if paired and not outputs.keys() & targets.keys():
        raise strangers("no output has the name of a target", outputs, targets)
    beside = ("target", "input", "mask") if paired else ("input", "mask")
    lacking = {role: [name for name in outputs if name not in sides[role]] for role in beside if role in sides}
    lacking |= {"output": [name for name in targets if name not in outputs]} if paired else {}
    found = {role: names for role, names in lacking.items() if names}
    for role, names in found.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.warn(f"no {role} for {', '.join(names[:3])}{more}", stacklevel=3)
    return found


def _read(found: Mapping[str, Path | Tensor], ndim: int) -> dict[str, Tensor]:
    # the images of one name as tensors of one size and, but for the mask, of as many channels; ShapeError if not
    arrays = {role: images.read(one, ndim=ndim) for role, one in found.items() if isinstance(one, Path)}
    counts = {array.shape[-1] for role, array in arrays.items() if role != "mask"}
    alike = ndim != 2 or (len(counts) == 1 and counts.isdisjoint((2, 4)))
    shared = None if alike or not counts else 1 if max(counts) < 3 else 3
    read = {
        role: images.to_tensor(images.as_channels(array, 1 if role == "mask" else shared or array.shape[-1]))
        for role, array in arrays.items()
    }
    tensors = {role: one if isinstance(one, Tensor) else read[role] for role, one in found.items()}
    sizes = {role: "x".join(map(str, tensor.shape[1:])) for role, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise ShapeError("sizes differ: " + ", ".join(f"{role} {size}" for role, size in sizes.items()))
    return tensors
