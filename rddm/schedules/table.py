"""A path from the user's own numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.kinds import Schedule
from rddm.core.process import Path
from rddm.schedules import _tables

Column = Annotated[tuple[float, ...] | None, Field(min_length=2)]
FORMS = (("abar", "bbar"), ("A", "B", "C"))


class Table(Schedule):
    """A path given by its tables of T + 1 rows, of which row 0 is the clean image.

        abar, bbar:   I_t = I_0 + abar_t I_res + bbar_t eps,         abar and bbar start at 0 and never fall
        A, B, C:      I_t = A_t I_0 + B_t I_in + C_t eps,            (A, B, C) starts at (1, 0, 0), C / F never falls

    Either the one or the other, with the gauge F, which is 1 if not given. They are lists, or columns of a `file`: a
    .csv with a header, a .json object of lists, a .npz archive by name, or a .npy array of 2, 3 or 4 columns (abar,
    bbar; A, B, C; A, B, C, F); other columns are passed over. A relative path starts at the working directory, `~` at
    home. The file is read at once, and the numbers take its place: a saved model needs it no more.

    Raises:
        SpecError: columns are missing, of different lengths, not finite, or no such path; the file cannot be read.
    """

    name: Literal["table"] = "table"
    file: FilePath | None = Field(default=None, description="where the columns are read from, instead of lists")
    abar: Column = Field(default=None, description="share of the residual that has entered")
    bbar: Column = Field(default=None, description="standard deviation of the noise that has entered")
    A: Column = Field(default=None, description="weight of the clean image")
    B: Column = Field(default=None, description="weight of the input image")
    C: Column = Field(default=None, description="standard deviation of the noise")
    F: Column = Field(default=None, description="the chain's accumulated gain")
    prior: tuple[float, float] | None = Field(
        default=None, description="weights of I_in and of noise where sampling starts; those of the last row by default"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("file") is None:
            return given
        known = {"F", *(key for form in FORMS for key in form)}
        if doubled := sorted(known & given.keys()):
            raise _bad("file", f"holds the columns, so {', '.join(doubled)} cannot be given beside it; leave out one")
        columns = _tables.read(FilePath(os.path.expanduser(str(given["file"]))))
        if not any(set(form) <= columns.keys() for form in FORMS):
            raise _bad("file", f"must have the columns abar, bbar or A, B, C; it has {', '.join(columns) or 'none'}")
        return {**given, "file": None} | {key: column for key, column in columns.items() if key in known}

    @model_validator(mode="after")
    def _is_a_path(self) -> Self:
        given = {key for key in (*FORMS[0], *FORMS[1]) if getattr(self, key) is not None}
        if given not in map(set, FORMS):
            raise _bad(
                None, f"must be given as abar, bbar or as A, B, C; given {', '.join(sorted(given)) or 'neither'}"
            )
        lengths = {key: len(getattr(self, key)) for key in sorted(given | {"F"}) if getattr(self, key) is not None}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} {length}" for key, length in lengths.items())
            raise _bad(None, f"all columns must have T + 1 rows, one for each t = 0 .. T; given {counts}")
        for key in FORMS[0] if "abar" in given else ():
            _check_sums(key, self._column(key))
        self.path()
        return self

    def path(self) -> Path:
        if self.abar is not None:
            abar = self._column("abar")
            return Path.dual(abar, self._column("bbar"), gauge=self._column("F", like=abar), prior=self.prior)
        A = self._column("A")
        return Path(A, self._column("B"), self._column("C"), F=self._column("F", like=A), prior=self.prior)

    def _column(self, key: str, like: Tensor | None = None) -> Tensor:
        column = getattr(self, key)
        return (
            torch.ones_like(like) if column is None and like is not None else torch.tensor(column, dtype=torch.float64)
        )


def _check_sums(key: str, sums: Tensor) -> None:
    if (sums < 0).any():
        t = int((sums < 0).nonzero()[0, 0])
        raise _bad(key, f"is a sum of rates that are at least 0, but {sums[t].item():.6g} at t = {t}")
    if sums[0] != 0:
        raise _bad(key, f"must be 0 in row 0, the clean image, but is {sums[0].item():.6g}; put a row of 0 before it")
    if (falls := sums.diff() < 0).any():
        t = int(falls.nonzero()[0, 0])
        raise _bad(key, f"must never fall, but goes from {sums[t].item():.6g} at t = {t} to {sums[t + 1].item():.6g}")


def _bad(key: str | None, message: str) -> SpecError:
    return SpecError("table", [((key,) if key else (), message)])
