"""The spec of a whole run, and the files it is read from."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rddm.core.component import Model
from rddm.core.errors import SpecError
from rddm.core.kinds import Backbone, Positive, Sampler, Schedule, Task
from rddm.core.named import Named, resolve


class EMA(Model):
    """Exponential moving average of the weights, which restores better than the last weights do."""

    decay: float = Field(default=0.995, ge=0, lt=1, description="share of the old average kept at an update")
    every: Positive = Field(default=10, description="optimizer steps between updates")
    after: int = Field(default=100, ge=0, description="steps during which the average just follows the weights")


class Training(Model):
    """How a network is trained. Steps are optimizer steps, whatever the accumulation."""

    steps: Positive = 2000
    batch_size: Positive = Field(default=8, description="examples per process and forward pass")
    accumulate: Positive = Field(default=1, description="forward passes per optimizer step")
    crop: Positive | Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)] = Field(
        default=64, description="training size: side, or one for each dimension, (height, width)"
    )
    loss: Literal["l1", "l2"] = Field(default="l1", description="l1 for restoration, l2 for generation (the paper)")
    loss_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="weight of a head's loss; 1 if not named"
    )
    optimizer: str = Field(default="adam", description="a name that timm's optimizer factory knows")
    per_network: bool = Field(default=False, description="one optimizer for each network, or one for all")
    lr: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0, description="steps over which lr rises from 0")
    clip_grad: float | None = Field(default=1.0, gt=0, description="largest joint gradient norm")
    precision: Literal["no", "bf16", "fp16"] = Field(default="no", description="mixed precision")
    ema: EMA | None = Field(default_factory=EMA)
    seed: int = Field(default=0, ge=0)
    workers: int = Field(
        default=0, ge=0, description="processes that prepare data; 0 prepares it in the training process"
    )
    log_every: Positive = 50
    eval_every: Positive | None = Field(
        default=None, description="steps between validations; only at the end by default"
    )
    eval_images: Positive = Field(
        default=8, description="images of a validation during training; the last one takes all"
    )
    save_every: Positive = Field(default=500, description="steps between checkpoints")
    keep_last: Positive = Field(default=2, description="checkpoints kept, beside the best")
    tensorboard: bool = False

    def crop_size(self, ndim: int) -> tuple[int, ...]:
        """The size of a training crop in each of the dimensions, (height, width) of an image.

        Raises:
            SpecError: it is given for another number of dimensions.
        """
        size = (self.crop,) * ndim if isinstance(self.crop, int) else self.crop
        if len(size) != ndim:
            problem = f"must be one side, or {ndim} of them, as task.ndim says; given {list(size)}"
            raise SpecError("Spec", [(("training", "crop"), problem)])
        return size


#: Keys of `training` that a resumed run may change: they decide how long and how it is watched, not what is learnt.
FREE_ON_RESUME = frozenset(
    ["steps", "workers", "log_every", "eval_every", "eval_images", "save_every", "keep_last", "tensorboard"]
)


class Spec(Model):
    """A whole run as data: what `rddm.build` takes. Every part is an instance, a name, or a table with a `name`.

    Raises:
        SpecError: naming the path of every key that is unknown, missing or out of range.
    """

    task: Named[Task]
    schedule: Named[Schedule] = Field(default_factory=lambda: resolve(Schedule, "power"))
    sampler: Named[Sampler] = Field(default_factory=lambda: resolve(Sampler, "sm-res-n"))
    backbone: Named[Backbone] = Field(default_factory=lambda: resolve(Backbone, "nafnet"))
    training: Training = Field(default_factory=Training)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that are equal for equal specs."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def to_yaml(self) -> str:
        """The complete spec, defaults included, as YAML that `read_table` reads back."""
        stream = io.StringIO()
        _yaml().dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def _yaml() -> YAML:
    # YAML 1.2 by a pure-Python parser: 1e-3 is a number, `no` is text, and a key given twice is an error
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def read_table(file: Path) -> dict[str, Any]:
    """The table in a .yaml, .yml, .toml or .json file.

    Raises:
        SpecError: the file is missing, of another kind, not valid, or no table.
    """
    file = file / "spec.yaml" if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8")
        match file.suffix.lower():
            case ".yaml" | ".yml":
                table = _yaml().load(text)
            case ".toml":
                table = tomllib.loads(text)
            case ".json":
                table = json.loads(text)
            case _:
                raise SpecError(str(file), [((), "must end in .yaml, .yml, .toml or .json")])
    except FileNotFoundError:
        raise SpecError(str(file), [((), "no such file")]) from None
    except (OSError, UnicodeDecodeError, YAMLError, tomllib.TOMLDecodeError, json.JSONDecodeError) as cause:
        raise SpecError(str(file), [((), f"cannot be read: {cause}")]) from cause
    if not isinstance(table, dict):
        raise SpecError(str(file), [((), f"must hold a table of keys; holds {type(table).__name__}")])
    return table


def override(table: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of the table with `"sampler.steps=10"` and the like applied; values are read as YAML.

    Raises:
        SpecError: an assignment has no `=`, its value is no YAML, or its path runs through a plain value.
    """
    result = json.loads(json.dumps(table, default=str)) if assignments else dict(table)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise SpecError("override", [((assignment,), "must be key=value, such as sampler.steps=10")])
        try:
            value = _yaml().load(text)
        except YAMLError as cause:
            raise SpecError("override", [((assignment,), f"its value is not YAML: {cause}")]) from cause
        place = result
        for key in keys[:-1]:
            inner = place.setdefault(key, {})
            if isinstance(inner, str):  # a part given by its name alone
                inner = place[key] = {"name": inner}
            if not isinstance(inner, dict):
                raise SpecError("override", [((assignment,), f"{key!r} is {inner!r}, which has no keys")])
            place = inner
        old = place.get(keys[-1])
        same_part = isinstance(old, dict) and "name" in old and old["name"] == value
        place[keys[-1]] = old if same_part else value
    return result
