"""Several sources as one, each with its share, and what each example is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, overload

import numpy as np
from pydantic import Field, field_validator

from rddm.core.component import Model
from rddm.core.errors import DataError
from rddm.core.kinds import Record, Records, Source
from rddm.core.named import Named
from rddm.sources._files import unique


class Part(Model):
    """One of the sources, the share of its examples in training, and their label."""

    source: Named[Source] = Field(description="a folder, or a source")
    label: str = Field(min_length=1, description="what its examples are, such as rain; several parts may share one")
    weight: float = Field(default=1.0, gt=0, description="its share of what is drawn, whatever its number of examples")


class Mix(Source):
    """The examples of all parts, named `label/name`, for one model of many degradations.

    Part k is drawn in training with the probability weight_k / sum of weights, each of its examples equally often; an
    epoch is as many draws as there are examples, and has some twice and others not. In evaluation each is taken once.

    Records have the roles that all parts have, and `label`: one plane for each label, 1 in that of the example and 0 in
    the others, which `paired` shows the network by `shown: [{role: label, channels: K}]`.
    """

    name: Literal["mix"] = "mix"
    parts: tuple[Part, ...] = Field(min_length=1, description="[{source: .., label: .., weight: ..}, ..]")
    order: tuple[str, ...] = Field(
        default=(), description="all labels, in the order of their planes, where the parts have not all of them"
    )

    @field_validator("order")
    @classmethod
    def _once(cls, order: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(order)) < len(order):
            raise ValueError("must name each label once")
        return order

    @property
    def labels(self) -> tuple[str, ...]:
        return self.order or tuple(dict.fromkeys(part.label for part in self.parts))

    def open(self) -> MixRecords:
        """The examples, part after part.

        Raises:
            DataError: a label is not in `order`, some parts are pairs and some clean images only, one has labels of
                its own, or names repeat.
        """
        if unknown := sorted({part.label for part in self.parts} - set(self.labels)):
            raise DataError(f"mix.order has {', '.join(self.labels)}, and parts are labelled {', '.join(unknown)}, too")
        opened = [part.source.open() for part in self.parts]
        roles = {
            f"{part.label}: {', '.join(sorted(one.roles))}": one.roles
            for part, one in zip(self.parts, opened, strict=True)
        }
        if len({"input" in found for found in roles.values()}) > 1:
            raise DataError(f"parts of a mix must be all pairs, or all clean images; given {'; '.join(roles)}")
        if nested := [text for text, found in roles.items() if "label" in found]:
            raise DataError(f"parts of a mix must have no role label, and be no mix; given {'; '.join(nested)}")
        return MixRecords(self, opened)


class MixRecords(Records):
    """The records of opened parts, one after the other."""

    def __init__(self, mix: Mix, parts: Sequence[Records]) -> None:
        self.parts, self._common = parts, frozenset.intersection(*(records.roles for records in parts))
        self.roles = self._common | {"label"}
        self._planes = [np.array([part.label == label for label in mix.labels], np.float32) for part in mix.parts]
        self._ends = list(accumulate(len(records) for records in parts))
        both = list(zip(mix.parts, parts, strict=True))
        self.names = unique([f"{part.label}/{name}" for part, records in both for name in records.names], "mix")
        self._weights = [weight for part, records in both for weight in _shares(part.weight, records)]

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        part = bisect_right(self._ends, place)
        record, planes = self.parts[part][place - self._ends[part]], self._planes[part]  # counted from its end
        found = {role: record[role] for role in self._common}
        return found | {"label": np.broadcast_to(planes, (*next(iter(found.values())).shape[:-1], len(planes)))}

    def sizes(self) -> Sequence[tuple[int, ...] | None]:
        """The size of every example."""
        return [size for records in self.parts for size in records.sizes()]

    @property
    def weights(self) -> Sequence[float]:
        """Each part's share, divided among its examples."""
        return self._weights


def _shares(weight: float, records: Records) -> list[float]:
    own = records.weights
    return [weight / len(records)] * len(records) if own is None else [weight * one / sum(own) for one in own]
