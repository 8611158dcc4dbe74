"""Restoration of images whose labels are known to metrics, and to nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from pydantic import Field
from torch import Generator, Tensor

from rddm.plugin import DataError, Degradation, Named, Record, Records, Source, Task, images, resolve


class Labelled(Task):
    """`paired`, and in each example the role `label` of its source beside: the network never sees it, metrics do.

    A label has a plane for each of the source's labels, 1 in that of the example: `lfw-subset` gives it, and a `mix`
    of one folder for each label. All else is as in `paired`, which has `shown` and `equalise` besides.

    Raises:
        DataError: a source has no role `label`.
    """

    name: Literal["labelled"] = "labelled"
    train: Named[Source] = Field(description="a source with labels, such as a mix")
    eval: Named[Source] = Field(description="a source with labels that training never sees")
    degradation: Named[Degradation] | None = Field(default=None, description="makes the inputs from clean images")
    augment: Literal["none", "flip", "dihedral"] = Field(default="flip", description="as in the task paired")

    @property
    def conditions(self) -> int:
        return self._paired.conditions

    def train_records(self) -> Records:
        return _with_labels(self._paired.train_records(), "task.train")

    def eval_records(self) -> Records:
        return _with_labels(self._paired.eval_records(), "task.eval")

    def example(self, record: Record, crop: tuple[int, ...] | None, generator: Generator) -> dict[str, Tensor]:
        found = self._paired.example(record, crop, generator)
        if "label" not in record:
            return found
        planes = images.to_tensor(record["label"]).flatten(1)[:, 0]  # the same everywhere, so that no crop matters
        size = found["target"].shape[1:]
        return found | {"label": planes.reshape(-1, *[1] * self.ndim).expand(-1, *size).clone()}

    def condition(self, x_in: Tensor, extras: Mapping[str, Tensor]) -> Tensor | None:
        return self._paired.condition(x_in, extras)

    @cached_property
    def _paired(self) -> Task:  # once: it is looked up among all that is installed
        own = {key: getattr(self, key) for key in ("channels", "ndim", "train", "eval", "degradation", "augment")}
        return resolve(Task, {"name": "paired", **own})


def _with_labels(records: Records, where: str) -> Records:
    if "label" not in records.roles:
        way = "{name: mix, parts: [{source: FOLDER, label: defect}, {source: FOLDER, label: clean}]}"
        raise DataError(f"{where} has no labels, only {sorted(records.roles)}; give a source that has, such as {way}")
    return records
