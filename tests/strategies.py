"""Random schedules, samplers and problems; a component that is registered later is drawn with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from rddm.core import registry
from rddm.core.component import Component
from rddm.core.kinds import Sampler, Schedule
from rddm.testing import strategies
from rddm.testing.strategies import built_in, determined, times, truth

__all__ = [
    "PARAMETERS",
    "REQUIRED",
    "SAMPLERS",
    "SMALL",
    "component",
    "determined",
    "samplers",
    "schedules",
    "times",
    "truth",
]

C = TypeVar("C", bound=Component)

shapes = st.sampled_from(["decreasing", "increasing", "mean"])
powers = st.floats(0, 3)
lengths = st.integers(2, 60)
betas = st.fixed_dictionaries(
    {"T": lengths, "betas": st.sampled_from(["linear", "scaled-linear", "sigmoid", "squared-cosine"])}
) | st.builds(lambda betas: {"betas": betas}, st.lists(st.floats(1e-5, 0.5), min_size=2, max_size=40))
PARAMETERS = {
    "power": st.fixed_dictionaries(
        {
            "T": lengths,
            "alpha": shapes,
            "beta2": shapes,
            "alpha_power": powers,
            "beta2_power": powers,
            "beta_T2": st.sampled_from([0.0, 0.01, 1.0]) | st.floats(1e-4, 4),
            "grid": st.sampled_from(["cells", "linspace"]),
        }
    ),
    "truncated-normal": st.fixed_dictionaries(
        {
            "T": lengths,
            "alpha_mean": st.floats(0, 1),
            "alpha_std": st.floats(0.05, 2),
            "beta2_mean": st.floats(0, 1),
            "beta2_std": st.floats(0.05, 2),
            "beta_T2": st.sampled_from([0.0, 0.01, 1.0]) | st.floats(1e-4, 4),
        }
    ),
    "table": st.builds(
        lambda abar, bbar, n: {"abar": [0.0, *sorted(abar)[:n], 1.0], "bbar": [0.0, *sorted(bbar)[:n], 2.0]},
        *[st.lists(st.floats(0.001, 1), min_size=9, max_size=9)] * 2,
        st.integers(1, 9),
    )
    | st.builds(
        lambda A, B, C: {"A": [1.0, *A], "B": [0.0, *B], "C": [0.0, *sorted(C)]},
        *[st.lists(st.floats(0.1, 1), min_size=5, max_size=5)] * 3,
    ),
    "ddim": betas,
    "vp": betas,
    "cold": betas,
    "diffuir": st.tuples(betas, st.sampled_from([None, 0.1])).map(lambda both: both[0] | {"start_noise": both[1]}),
    "resfusion": st.fixed_dictionaries({"betas": st.lists(st.floats(0.01, 0.2), min_size=140, max_size=140)}),
    "ve": st.fixed_dictionaries(
        {
            "T": lengths,
            "sigmas": st.sampled_from(["karras", "geometric"]),
            "sigma_min": st.floats(1e-3, 1),
            "sigma_max": st.floats(1, 200),
            "rho": st.floats(1, 10),
        }
    ),
    "flow": st.fixed_dictionaries({"T": lengths, "shift": st.floats(0.1, 10)}),
    "indi": st.fixed_dictionaries(
        {"T": lengths, "noise": st.sampled_from(["constant", "brownian"]), "epsilon": st.floats(0.01, 1) | st.just(0.0)}
    ),
    "i2sb": st.fixed_dictionaries({"T": lengths, "beta_start": st.floats(1e-5, 1e-2), "beta_max": st.floats(0.1, 10)}),
    "bbdm": st.fixed_dictionaries({"T": lengths, "scale": st.floats(0.01, 4) | st.just(0.0)}),
    "resshift": st.fixed_dictionaries(
        {
            "T": lengths,
            "kappa": st.floats(0.1, 4),
            "p": st.floats(0.1, 3),
            "eta_1": st.floats(1e-4, 0.1),
            "eta_T": st.floats(0.9, 1),
        }
    ),
    "ir-sde": st.fixed_dictionaries(
        {
            "T": lengths,
            "theta": st.sampled_from(["cosine", "linear", "constant"]),
            "level": st.floats(0.01, 1) | st.just(0.0),
            "end": st.floats(1e-4, 0.5),
        }
    ),
    "interpolant": st.fixed_dictionaries(
        {
            "T": lengths,
            "form": st.sampled_from(["linear", "trig", "encoding-decoding"]),
            "a": st.floats(0.01, 4) | st.just(0.0),
        }
    ),
}


#: Parameters of samplers; one that selects is drawn as it is after training.
SAMPLERS = {"auto": st.fixed_dictionaries({"decision": st.sampled_from(["sm-res", "sm-n"])})}

#: What components cannot do without, by kind and name.
REQUIRED = {
    ("sampler", "auto"): {"decision": "sm-res"},
    ("schedule", "table"): {"abar": [0.0, 0.5, 1.0], "bbar": [0.0, 0.5, 1.0]},
    ("task", "paired"): {"train": "a", "eval": "b"},
    ("task", "generation"): {"train": "a", "eval": "b"},
    ("task", "inpainting"): {"train": "a", "eval": "b"},
    ("task", "translation"): {"train": {"source": "a", "target": "b"}, "eval": {"source": "c", "target": "d"}},
    ("mask", "files"): {"path": "x"},
    ("source", "arrays"): {"path": "x.npz"},
    ("source", "datasets"): {"path": "x"},
    ("source", "folder"): {"path": "x"},
    ("source", "list"): {"path": "x.csv"},
    ("source", "mix"): {"parts": [{"source": "x", "label": "a"}]},
    ("source", "tiles"): {"source": "x", "size": 8},
    ("source", "webdataset"): {"shards": "x.tar"},
    ("grid", "times"): {"at": [1000, 300, 0]},
    ("route", "curve"): {"points": [[1, 1], [0.2, 0.9], [0, 0]]},
    ("route", "schedule"): {"schedule": "ddim"},
}

#: Backbones that are small enough to be tried out quickly; others are taken with their defaults.
SMALL: dict[str, dict[str, object]] = {
    "nafnet": {"width": 8, "middle_blocks": 1},
    "unet": {"width": 8, "multipliers": (1, 2)},
    "restormer": {"width": 8, "blocks": (1, 1), "heads": (1, 2)},
    "timm-unet": {"encoder": "test_resnet", "width": 8},
    "diffusers": {
        "config": {
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "norm_num_groups": 4,
        }
    },
}


def component(base: type[C], name: str) -> C:
    """A component with its defaults, and with what it requires."""
    return registry.load(base, name)(**REQUIRED.get((base.kind, name), {}))


def schedules(names: Sequence[str] | None = None) -> st.SearchStrategy[Schedule]:
    """Every registered schedule, or those named, at random parameters."""
    return strategies.schedules(names or built_in("schedule"), PARAMETERS)


def samplers() -> st.SearchStrategy[Sampler]:
    """Every registered sampler, as it is after training."""
    return strategies.samplers(built_in("sampler"), SAMPLERS)
