"""What sources, degradations and masks promise."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rddm.core.errors import DataError
from rddm.core.images import to_tensor
from rddm.core.kinds import Degradation, Mask, Source
from rddm.testing._every import pickled_of
from rddm.testing._property import (
    cases,
    holds,
    own_randomness,
    readable,
    require,
    seeded,
    without_global_randomness,
)
from rddm.testing.strategies import images, seeds

AWKWARD = {  # (C, *S)
    1: ((1, 1), (3, 2), (5, 33)),
    2: ((1, 1, 1), (3, 1, 1), (5, 1, 33), (2, 47, 1)),
    3: ((1, 1, 1, 1), (2, 1, 5, 9)),
}


@holds("source", "open() must return rddm.plugin.Records: a sequence with names, roles and sizes().")
def names_are_unique_and_stay(source: Source) -> None:
    """Records have a name for each example, a text that no other has, the same at every opening."""
    records = source.open()
    names = list(records.names)
    require(len(records) == len(names) > 0, f"there are {len(records)} examples and {len(names)} names")
    twice = sorted({name for name in names if names.count(name) > 1})[:3] if len(set(names)) < len(names) else []
    require(not twice, f"{twice} are names of several examples")
    require(all(isinstance(name, str) and name for name in names), "a name is empty, or no text")
    require(list(source.open().names) == names, "opened again, it gives other names")


@holds(
    "source", "Give arrays (*S, C), uint8, uint16 or floating point in [0, 1], and sizes() as tuples S from headers."
)
def records_hold_what_roles_and_sizes_say(source: Source, *, limit: int = 8) -> None:
    """The first `limit` records that can be read hold exactly the roles, as arrays (*S, C) in range, sized as sizes().

    Those whose reading raises DataError are left out, but not all may be; a size of None, of which sizes() knows
    nothing, is any.
    """
    records = source.open()
    sizes = list(records.sizes())
    require(len(sizes) == len(records), f"sizes() has {len(sizes)} entries for {len(records)} examples")
    for n, record in readable(records, limit):
        require(
            set(record) == set(records.roles), f"record {n} has {sorted(record)}, and roles is {sorted(records.roles)}"
        )
        for role in record:
            array = record[role]
            require(isinstance(array, np.ndarray), f"{role!r} of record {n} is a {type(array).__name__}")
            what = f"{role!r} of record {n} is {array.dtype} {array.shape}"
            size = sizes[n]
            require(size is None or tuple(array.shape[:-1]) == tuple(size), f"{what}, and its size {size}")
            tensor = to_tensor(array)
            ends = f"{float(tensor.min()):.4g} .. {float(tensor.max()):.4g}"
            require(tensor.min() >= 0 and tensor.max() <= 1, f"{what} and spans {ends}")


@holds(
    "source", 'Let labels name the planes of the role "label", one text for each, and only where there is such a role.'
)
def labels_name_the_planes_of_the_label(source: Source) -> None:
    """labels has a different text for every channel of the role "label", and none where there is no such role."""
    records = source.open()
    planes = readable(records, 1)[0][1]["label"].shape[-1] if "label" in records.roles else 0
    labels = source.labels
    good = len(labels) == planes == len(set(labels)) and all(isinstance(label, str) for label in labels)
    require(good, f"labels is {labels!r}, and there are {planes} planes of them")


@holds("source", "__getitem__ takes an int, negative ones too, and a slice; beyond the end it raises IndexError.")
def records_are_a_sequence(source: Source) -> None:
    """Records are read by number, by negative number and by slice, always the same; beyond the end is an IndexError."""
    records = source.open()
    n, first = readable(records, 1)[0]
    first, again = ({role: np.array(one[role]) for role in one} for one in (first, records[n - len(records)]))
    require(all(np.array_equal(first[role], again[role]) for role in first), f"record {n} differs from {n} - len")
    few = records[n : n + 1]
    require(len(few) == 1, f"records[{n}:{n + 1}] has {len(few)}")
    require(all(np.array_equal(first[role], few[0][role]) for role in first), f"record {n} differs from a slice's")
    with suppress(DataError):
        require(len(records[:2]) == min(2, len(records)), f"records[:2] has {len(records[:2])}")
    try:
        records[len(records)]
    except IndexError:
        return
    require(False, "a record beyond the end is given without an IndexError")


@holds("source", "Keep paths and numbers in Records; open files when a record is read, not before.")
def records_reach_worker_processes(source: Source) -> None:
    """Opened records can be pickled, as for the workers of a data loader, and are the same there."""
    records = source.open()
    copy = pickle.loads(pickled_of(records))
    require(list(copy.names) == list(records.names), "the copy has other names")
    n, one = readable(records, 1)[0]
    other = copy[n]
    require(all(np.array_equal(one[role], other[role]) for role in one), f"record {n} of the copy differs")


@holds("source", "weights is None, or one finite number of at least 0 for each example, not all of them 0.")
def weights_are_shares(source: Source) -> None:
    """weights, where there are any, has one finite number for each example, at least 0, and some above 0."""
    records = source.open()
    if records.weights is None:
        return
    weights = np.asarray(records.weights, dtype=float)
    require(weights.shape == (len(records),), f"there are {weights.shape} weights for {len(records)} examples")
    require(np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0, f"they are {weights[:5]}")


def _spoilt(degradation: Degradation, clean: Tensor, seed: int) -> Tensor:
    found = degradation.example(clean, seeded(seed))["input"]
    plain = degradation(clean, seeded(seed))
    require(torch.equal(found, plain), 'the "input" of example differs from what the call gives')
    return plain


@holds(
    "degradation", "Clip the result to [0, 1], keep float32, and compute sizes from clean.shape, which may be 1 pixel."
)
def shape_type_and_range_are_kept(degradation: Degradation, *, examples: int = 30, ndim: int = 2) -> None:
    """Of an image (C, *S) in [0, 1], with any C and size, it makes one of that shape, float32, in [0, 1].

    `ndim` is 1 for signals, 2 for images, 3 for volumes.
    """

    def right(clean: Tensor, seed: int) -> None:
        bad = _spoilt(degradation, clean, seed)
        given = f"of {tuple(clean.shape)} it makes {tuple(bad.shape)}, {bad.dtype}"
        require(bad.shape == clean.shape and bad.dtype == torch.float32, given)
        ends = f"{float(bad.min()):.4g} .. {float(bad.max()):.4g}"
        require(bad.min() >= 0 and bad.max() <= 1, f"{given}, spanning {ends}")  # false for NaN, too

    for seed, shape in enumerate(AWKWARD[ndim]):
        for value in (0.0, 1.0):
            right(torch.full(shape, value), seed)

    @cases(examples)
    @given(images(ndim=ndim), seeds)
    def each(clean: Tensor, seed: int) -> None:
        right(clean, seed)

    each()


@holds("degradation", "Draw by torch with generator=generator, one call after the other, and nothing anywhere else.")
def all_randomness_is_its_generators(degradation: Degradation, *, examples: int = 20, ndim: int = 2) -> None:
    """Equal seeds give equal images whatever the global random states, which do not move."""

    @cases(examples)
    @given(images(ndim=ndim), seeds)
    def each(clean: Tensor, seed: int) -> None:
        found = []
        for other in (0, 1):
            with own_randomness(other), without_global_randomness("it"):
                found.append(degradation(clean, seeded(seed)))
        require(torch.equal(*found), "equal seeds give different images")

    each()


@holds(
    "degradation",
    "Draw torch.randn(clean.shape, generator=generator) and the like: what randn_like, or normal_ on an empty_like,"
    " draws where depends on strides.",
)
def the_memory_layout_makes_no_difference(degradation: Degradation, *, examples: int = 20, ndim: int = 2) -> None:
    """Equal seeds give the same image, up to rounding, whether channels are first or last in memory."""
    for seed in range(examples):
        clean = torch.rand((3, *(20, 24, 16)[:ndim]), generator=seeded(seed))
        strided = clean.movedim(0, -1).contiguous().movedim(-1, 0)
        one, other = (degradation(picture, seeded(seed)) for picture in (clean, strided))
        far = (one - other).abs() > 1e-6
        # a sum in another order may take a value over a threshold, of rounding to 8 bits for one, but hardly ever
        require(far.sum() <= far.numel() / 1000, f"with channels last in memory, {int(far.sum())} values differ")


@holds("degradation", "Return a new tensor: not clean itself, nor a view of it, and change nothing in place.")
def the_clean_image_is_left_as_it_was(degradation: Degradation, *, examples: int = 20, ndim: int = 2) -> None:
    """Neither the call nor example changes the clean image, or gives what shares its memory."""

    @cases(examples)
    @given(images(ndim=ndim), seeds)
    def each(clean: Tensor, seed: int) -> None:
        ways: dict[str, Callable[[Tensor], Mapping[str, Tensor]]] = {
            "the call": lambda image: {"input": degradation(image, seeded(seed))},
            "example": lambda image: degradation.example(image, seeded(seed)),
        }
        for way, spoil in ways.items():
            mine = clean.clone()
            found = spoil(mine)
            require(torch.equal(mine, clean), f"clean is changed in place by {way}")
            before = {role: part.clone() for role, part in found.items()}
            mine.add_(1)
            for role, part in found.items():
                require(torch.equal(part, before[role]), f"the {role!r} that {way} gives shares the memory of clean")

    each()


@holds("degradation", 'example must give "input" and every role of `extras`, (K, *S) in [0, 1], all from one draw.')
def extras_come_with_the_input(degradation: Degradation, *, ndim: int = 2) -> None:
    """example gives "input" and exactly the `extras`, each (K, *S) in [0, 1], equal for equal seeds."""
    for seed, shape in enumerate(((3, *(20, 24, 16)[:ndim]), *AWKWARD[ndim])):
        clean = torch.rand(shape, generator=seeded(seed))
        one, other = (degradation.example(clean, seeded(seed)) for _ in range(2))
        require(set(one) == {"input", *degradation.extras}, f"it gives {sorted(one)}; extras is {degradation.extras}")
        for role, channels in degradation.extras.items():
            extra = one[role]
            given = f"{role!r} of an image {shape} is {tuple(extra.shape)}"
            require(extra.shape == (channels, *shape[1:]), f"{given}, and extras says {channels} channels")
            require(extra.min() >= 0 and extra.max() <= 1, f"{given}, in {float(extra.min())} .. {float(extra.max())}")
            require(torch.equal(extra, other[role]), f"{role!r} differs for equal seeds")


@holds(
    "mask", "Return float32 (1, height, width) of zeros and ones, 1 in the hole; make the hole a pixel at the least."
)
def a_mask_is_ones_in_a_hole_among_zeros_at_any_size(mask: Mask, *, examples: int = 60) -> None:
    """A mask is (1, height, width), float32, of 0 and 1, with a hole at any size; from 16 pixels on not all is hole."""

    @cases(examples)
    @given(st.integers(1, 40), st.integers(1, 40), seeds)
    def each(height: int, width: int, seed: int) -> None:
        found = mask(height, width, seeded(seed))
        given = f"for {height} x {width} it is {tuple(found.shape)}, {found.dtype}"
        require(found.shape == (1, height, width) and found.dtype == torch.float32, given)
        require(((found == 0) | (found == 1)).all(), f"{given}, with values other than 0 and 1")
        require(found.any(), f"{given}, without a hole")
        require(min(height, width) < 16 or not found.all(), f"{given}, and all of it is hole")

    each()


@holds("mask", "Draw by torch with generator=generator, and nothing anywhere else.")
def masks_follow_from_their_generator(mask: Mask, *, examples: int = 20) -> None:
    """Equal seeds give equal masks whatever the global random states, which do not move."""

    @cases(examples)
    @given(st.integers(1, 40), st.integers(1, 40), seeds)
    def each(height: int, width: int, seed: int) -> None:
        found = []
        for other in (0, 1):
            with own_randomness(other), without_global_randomness("it"):
                found.append(mask(height, width, seeded(seed)))
        require(torch.equal(*found), "equal seeds give different masks")

    each()
