"""Two sources as one: each input with the images of the other domain that may be its partner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import overload

from rddm.core.images import Array
from rddm.core.kinds import Record, Records


class Unpaired(Records):
    """An input and its candidates, by the numbers of both: records of "input", "target 0", "target 1" and so on.

    Of either source the targets are taken, and none is read before it is asked for.
    """

    def __init__(self, inputs: Records, targets: Records, rows: Sequence[tuple[int, Sequence[int]]]) -> None:
        self.inputs, self.targets, self.rows = inputs, targets, rows
        self.roles = frozenset(("input", "target"))
        alone = all(len(candidates) == 1 for _, candidates in rows)
        self.names = [
            f"{inputs.names[i]} to {targets.names[candidates[0]]}" if alone else inputs.names[i]
            for i, candidates in rows
        ]

    @classmethod
    def any(cls, inputs: Records, targets: Records) -> Unpaired:
        """Each input once, with every target as its candidate."""
        return cls(inputs, targets, [(i, range(len(targets))) for i in range(len(inputs))])

    @classmethod
    def in_turn(cls, inputs: Records, targets: Records) -> Unpaired:
        """Inputs and targets side by side, the fewer of them again from the first, so that all of both are there."""
        n, m = len(inputs), len(targets)
        return cls(inputs, targets, [(k % n, [k % m]) for k in range(max(n, m))])

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return _Row(self, *self.rows[index])

    def sizes(self) -> Sequence[tuple[int, ...] | None]:
        """The size that an input and every target have at least, None for an unreadable input."""
        least = [size for size in self.targets.sizes() if size is not None]
        found = self.inputs.sizes()
        rows = [found[i] for i, _ in self.rows]
        if not least:
            return rows
        smallest = [min(side) for side in zip(*least, strict=True)]
        return [size and tuple(map(min, size, smallest)) for size in rows]

    @property
    def weights(self) -> Sequence[float] | None:
        """Those of the inputs; partners are drawn evenly."""
        own = self.inputs.weights
        return None if own is None else [own[i] for i, _ in self.rows]


class _Row(Mapping[str, Array]):
    def __init__(self, records: Unpaired, index: int, candidates: Sequence[int]) -> None:
        self.records, self.index, self.candidates = records, index, candidates

    def __getitem__(self, role: str) -> Array:
        if role == "input":
            return self.records.inputs[self.index]["target"]
        return self.records.targets[self.candidates[int(role.removeprefix("target "))]]["target"]

    def __iter__(self) -> Iterator[str]:
        yield "input"
        yield from (f"target {number}" for number in range(len(self.candidates)))

    def __len__(self) -> int:
        return 1 + len(self.candidates)
