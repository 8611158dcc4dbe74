"""`rddm.testing.check`: every registered component keeps its contract, and whatever breaks a property is told so."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import ConfigDict
from strategies import REQUIRED, SMALL
from torch import nn

from rddm.core import images, kinds, registry
from rddm.core.component import Component
from rddm.core.draws import draw
from rddm.core.errors import DataError, SpecError
from rddm.core.heads import X0
from rddm.core.kinds import Backbone, Choice, Records, Source
from rddm.core.process import Node, Path, Prediction, reverse_step
from rddm.degradations.noise import Noise
from rddm.grids.spaced import Spaced
from rddm.grids.times import Times
from rddm.grids.uniform import Uniform
from rddm.masks.box import Box
from rddm.metrics.psnr import PSNR
from rddm.metrics.swd import SWD
from rddm.routes.residual_first import ResidualFirst
from rddm.samplers.sm_res import SMRes
from rddm.schedules.cold_blur import ColdBlur
from rddm.schedules.power import Power
from rddm.solvers.first_order import FirstOrder
from rddm.tasks.inpainting import Inpainting
from rddm.tasks.paired import Paired
from rddm.testing import ContractError, check, contract
from rddm.testing.strategies import built_in

KINDS = {kind: getattr(kinds, kind.capitalize()) for kind in registry.KINDS}


def noise(seed: int, size: tuple[int, ...] = (33, 40), channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


# ------------------------------------------------------------------------------- what is registered keeps its contract
MEASURED = ["figures_are_finite_floats_by_key", "more_noise_is_worse", "measuring_changes_nothing"]
NO_WEIGHTS = {"leave_out": MEASURED}  # those of sets and of networks have tests with weights of their own
MASKED = {"extras": {"mask": torch.zeros(1, 48, 40).index_fill(1, torch.arange(10, 30), 1.0)}}
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("solver", "first-order"): {"evaluations": 1},
    ("solver", "posterior"): {"evaluations": 1},
    ("solver", "heun"): {"evaluations": 2, "order": 2.0},
    ("solver", "multistep"): {"evaluations": 1, "order": 2.0},
    # its rule "one" has marginals of its own
    ("solver", "kappa"): {"evaluations": 1, "leave_out": ["the_error_falls_at_least_with_the_step"]},
    ("task", "translation"): {"record": {"input": noise(0), "target 0": noise(1), "target 1": noise(2, (30, 50))}},
    ("metric", "fid"): {"leave_out": [*MEASURED, "a_set_has_no_order"]},
    ("metric", "kid"): {"leave_out": [*MEASURED, "a_set_has_no_order"]},
    ("metric", "is"): {"leave_out": [*MEASURED, "a_set_has_no_order"]},
    ("metric", "lpips"): NO_WEIGHTS,
    ("metric", "ms-ssim"): {"size": (180, 190)},
    ("metric", "region-psnr"): MASKED,
    ("metric", "region-ssim"): MASKED,
}
ALL = [(kind, name) for kind in registry.KINDS for name in built_in(kind)]  # plugins have tests of their own


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of pairs, one of clean images, one of masks, and arrays."""
    root = tmp_path_factory.mktemp("data")
    for seed in range(3):
        images.write(root / "pairs" / "input" / f"{seed}.png", noise(seed))
        images.write(root / "pairs" / "target" / f"{seed}.png", noise(seed + 10))
        images.write(root / "clean" / f"{seed}.png", noise(seed))
    black = np.zeros((4, 4, 1), np.uint8)
    images.write(root / "masks" / "corner.png", np.pad(black, ((0, 8), (8, 0), (0, 0)), constant_values=255))
    np.save(root / "targets.npy", np.stack([noise(seed) for seed in range(4)]))
    return root


def made(kind: str, name: str, data) -> Component:
    keys: dict[tuple[str, str], dict[str, Any]] = {
        ("mask", "files"): {"path": data / "masks"},
        ("source", "arrays"): {"path": data / "targets.npy"},
        ("source", "folder"): {"path": data / "pairs"},
        ("source", "tiles"): {"source": str(data / "clean"), "size": 8},
    }
    parameters = keys.get((kind, name), REQUIRED.get((kind, name), SMALL.get(name, {}) if kind == "backbone" else {}))
    return registry.load(KINDS[kind], name)(**parameters)


@pytest.mark.parametrize(("kind", "name"), ALL, ids=[" ".join(one) for one in ALL])
def test_every_component_keeps_its_contract(kind, name, data):
    part = made(kind, name, data)
    options = OPTIONS.get((kind, name), {})
    if kind == "source" and str(data) not in str(part) and name != "photos":  # its own tests have its data
        options = {"leave_out": [one.name for one in contract("source") if one.kind]}
    if kind == "backbone":
        options = {"compile": False}
    tested = check(part, **options)
    assert len(tested) == len(contract(kind)) - len(options.get("leave_out", ()))


@pytest.mark.slow
@pytest.mark.parametrize("name", built_in("backbone"))
def test_every_backbone_is_compiled_whole(name):
    part = registry.load(Backbone, name)(**SMALL.get(name, {}))
    rest = [one.name for one in contract("backbone") if one.name != "torch_compile_takes_it_whole"]
    check(part, leave_out=rest)
    check(part, leave_out=rest, compile=True)


# -------------------------------------------------------------------------------------- what breaks a property is told
def broken(base: type[Component], parameters: dict[str, Any] | None = None, **members: Any) -> Component:
    """A component of a class derived from one that is right, with other members."""
    return type("Mine", (base,), {"__doc__": "Broken.", "__module__": __name__, **members})(**parameters or {})


def path_with(**tables: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """The default path with tables changed behind its back."""
    path = Power(T=10).path()
    for key, change in tables.items():
        object.__setattr__(path, key, change(getattr(path, key).clone()))
    return path


def at(row: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(table: torch.Tensor) -> torch.Tensor:
        table[row] = value
        return table

    return change


def falling(table: torch.Tensor) -> torch.Tensor:
    table[1:] = table[1:].flip(0)
    return table


def wandering(self) -> Path:
    return Power(T=10, alpha_power=random.random()).path()


class Skewed(type(ColdBlur().path().spectrum)):
    """A transform that is no isometry."""

    def to(self, image):
        return 2 * super().to(image)

    def back(self, coefficients):
        return super().back(coefficients) / 2


def skewed(self) -> Path:
    path = ColdBlur(T=10).path()
    spectrum = object.__new__(Skewed)
    spectrum.__dict__.update(vars(path.spectrum))
    return replace(path, spectrum=spectrum)


def schedule(path: Callable[[Any], Path]) -> Component:
    return broken(Power, path=path)


def stepping(how: Callable[..., Any], base: type = FirstOrder) -> Component:
    def step(self, x, now, to, predict, draw, eta, memory):
        return how(x, now, to, predict, draw, eta, memory)

    return broken(base, step=step)


def first(x, now, to, predict, draw, eta, memory):
    found = predict(x, now)
    return reverse_step(found, now, to, eta, draw), found, None


KEPT: list[Prediction] = []


def remembering(x, now, to, predict, draw, eta, memory):
    KEPT.append(predict(x, now))
    past = KEPT[-2] if len(KEPT) > 1 and KEPT[-2].x0.shape == x.shape and to.t > 0 else KEPT[-1]
    return reverse_step(past, now, to, eta, draw), KEPT[-1], None


def scalar_only(x, now, to, predict, draw, eta, memory):
    found = predict(x, now)
    kept = float(to.C)
    return to.A * found.x0 + to.B * (found.x0 + found.res) + kept * found.eps, found, None


class Conv(nn.Module):
    """A convolution told the time, as it should be."""

    def __init__(self, i, o, times):
        super().__init__()
        self.conv, self.time, self.out = nn.Conv2d(i, 16, 3, padding=1), nn.Linear(times, 16), nn.Conv2d(16, o, 1)

    def forward(self, x, time):
        emb = torch.sin(self.time((time.float() / 100).sin().to(self.time.weight.dtype)))
        return self.out(torch.relu(self.conv(x) + emb[:, :, None, None])) + x.mean(1, keepdim=True)


def network(forward: Callable[..., Any] | None = None, base: type[nn.Module] = Conv, init: Any = None) -> Component:
    members = {"forward": forward} if forward else {}
    if init:
        members["__init__"] = init
    cls = type("Net", (base,), members)

    class Mine(Backbone):
        """Broken."""

        name: Literal["mine"] = "mine"

        def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
            return cls(in_chans, out_chans, times)

    return Mine()


def with_extra(self, i, o, times):
    Conv.__init__(self, i, o, times)
    self.unused = nn.Parameter(torch.zeros(3))


def with_plain_tensor(self, i, o, times):
    Conv.__init__(self, i, o, times)
    self.offset = torch.randn(1)


def seeded_by_the_clock(self, i, o, times):
    Conv.__init__(self, i, o, times)
    with torch.no_grad():
        self.conv.weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=self.conv.weight.shape)))


class Rows(Records):
    """Records of arrays that are given."""

    def __init__(self, rows, names=None, sizes=None, weights=None):
        self.rows, self.roles, self._weights = rows, frozenset(("target",)), weights
        self.names = names or [str(n) for n in range(len(rows))]
        self._sizes = sizes or [row.shape[:2] for row in rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return (
            [{"target": row} for row in self.rows[index]] if isinstance(index, slice) else {"target": self.rows[index]}
        )

    def sizes(self):
        return self._sizes

    @property
    def weights(self):
        return self._weights


class Cyclic(Rows):
    """Records that never end."""

    def __getitem__(self, index):
        return super().__getitem__(index if isinstance(index, slice) else index % len(self))


class Open(Rows):
    """Records that hold what cannot be pickled."""

    def __init__(self, rows):
        super().__init__(rows)
        self.reader = lambda index: rows[index]


def source(records: Callable[[], Records]) -> Component:
    class Mine(Source):
        """Broken."""

        name: Literal["mine"] = "mine"

        def open(self) -> Records:
            return records()

    return Mine()


ROWS = [noise(n, (6, 5)) for n in range(3)]
PAIR = {"train": "a", "eval": "b"}


def changed(role: str, change: Callable[[torch.Tensor], torch.Tensor]):
    def example(self, record, crop, generator):
        found = Paired.example(self, record, crop, generator)
        return found | {role: change(found[role])}

    return example


def careless_example(self, record, crop, generator):
    return Paired.example(self, record, crop, torch.default_generator)


def measuring(value: Callable[[torch.Tensor, torch.Tensor], float], **members: Any) -> Component:
    def measure(self, output, target, extras):
        return {"psnr": value(output, target)}

    return broken(PSNR, measure=measure, **members)


def undecided(**members: Any) -> Component:
    def choice(self):
        return Choice((SMRes(), SMRes()), 0.1, 0.1, 1, 2, lambda *_: self)

    return broken(SMRes, choice=property(choice), **members)


def two_networks(self, path, node):
    return {"res": (node.A * 0 - 1, 1.0, 0.0)}


BROKEN: dict[tuple[str, str], Callable[[], Component]] = {
    ("", "the_name_is_a_literal_with_itself_as_default"): lambda: broken(
        Uniform, __annotations__={"name": str}, name="uniform"
    ),
    ("", "its_entry_point_leads_to_it"): lambda: broken(Uniform),
    ("", "the_class_has_a_docstring_of_its_own"): lambda: broken(Uniform, __doc__=None),
    ("", "it_is_frozen_and_refuses_unknown_parameters"): lambda: broken(
        Uniform, model_config=ConfigDict(extra="ignore")
    ),
    ("", "it_comes_back_from_python_json_and_yaml"): lambda: broken(
        Uniform, {"of": [1, 2]}, __annotations__={"of": list}
    ),
    ("", "it_has_a_json_schema"): lambda: broken(
        Uniform,
        {"of": 1 + 1j},
        __annotations__={"of": object},
        model_config=ConfigDict(title="Mine"),
        model_json_schema=classmethod(lambda cls: {"properties": {}}),
    ),
    ("", "it_reaches_worker_processes"): lambda: broken(Uniform),
    ("schedule", "the_path_is_float64_tables_from_the_clean_image_on"): lambda: schedule(
        lambda self: path_with(A=at(0, 0.9))
    ),
    ("schedule", "the_path_is_always_the_same"): lambda: schedule(wandering),
    ("schedule", "sampling_starts_where_the_path_ends"): lambda: schedule(
        lambda self: replace(Power(T=10).path(), prior=(1.0, 0.1))
    ),
    ("schedule", "the_chain_ends_as_the_closed_form_says"): lambda: schedule(lambda self: path_with(C=at(10, 0.5))),
    ("schedule", "a_reverse_step_is_the_posterior_of_the_chain"): lambda: schedule(lambda self: path_with(C=falling)),
    ("schedule", "the_truth_leads_back_over_any_steps"): lambda: schedule(lambda self: path_with(B=at(10, torch.nan))),
    ("schedule", "samplers_and_solvers_with_an_oracle_return_the_clean_image"): lambda: schedule(
        lambda self: path_with(A=lambda table: table * 0 + 1e-6, B=torch.zeros_like, C=torch.zeros_like)
    ),
    ("schedule", "a_spectrum_is_an_orthonormal_transform"): lambda: schedule(skewed),
    ("sampler", "heads_are_names"): lambda: broken(SMRes, heads=("res.1",)),
    ("sampler", "targets_are_finite_weights_for_each_head"): lambda: broken(
        SMRes, targets=lambda self, path, node: {"res": (0.0, 0.0, 1 / (node.t - path.T))}
    ),
    ("sampler", "what_is_encoded_is_decoded"): lambda: broken(
        SMRes, targets=lambda self, path, node: {"res": (node.A, node.B, node.C)}
    ),
    ("sampler", "an_oracle_is_sampled_to_the_clean_image"): lambda: broken(
        SMRes, targets=lambda self, path, node: {"res": (0.0, 1.0, 0.0)}
    ),
    ("sampler", "targets_that_look_beyond_the_node_are_bound"): lambda: broken(
        SMRes, targets=lambda self, path, node: {"res": (-path.A[(node.t.long() - 1)], 1.0, 0.0)}
    ),
    ("sampler", "a_head_of_a_known_name_is_that_head"): lambda: broken(
        SMRes, targets=lambda self, path, node: {"res": X0}
    ),
    ("sampler", "a_network_with_its_heads_can_be_built"): lambda: broken(
        SMRes, __annotations__={"nets": Literal[3]}, nets=3
    ),
    ("sampler", "what_is_learnt_are_parameters_and_settles_the_choice"): undecided,
    ("solver", "a_step_gives_a_state_of_the_same_shape_and_type"): lambda: stepping(
        lambda x, *others: (first(x.double(), *others)[0].double(), *first(x, *others)[1:])
    ),
    ("solver", "an_oracle_is_followed_to_the_clean_image"): lambda: stepping(
        lambda x, now, to, *others: (first(x, now, to, *others)[0] + 1e-3, *first(x, now, to, *others)[1:])
    ),
    ("solver", "trajectories_do_not_influence_each_other"): lambda: stepping(remembering),
    ("solver", "eta_0_is_deterministic"): lambda: stepping(
        lambda x, now, to, predict, draw, eta, memory: first(x, now, to, predict, draw, max(eta, 0.3), memory)
    ),
    ("solver", "eta_outside_0_to_1_is_refused"): lambda: stepping(
        lambda x, now, to, predict, draw, eta, memory: first(x, now, to, predict, draw, min(max(eta, 0), 1), memory)
    ),
    ("solver", "a_step_evaluates_the_network"): lambda: stepping(
        lambda x, now, to, predict, *others: first(x, now, to, lambda x, node: predict(x * 1, node), *others)
    ),
    ("solver", "coefficients_may_differ_by_frequency"): lambda: stepping(scalar_only),
    ("solver", "the_error_falls_at_least_with_the_step"): lambda: stepping(
        lambda x, now, to, predict, *others: first(
            x, now, to, lambda x, node: replace(predict(x, node), eps=0.9 * predict(x, node).eps), *others
        )
    ),
    ("grid", "times_fall_from_T_to_0_in_the_steps_asked_for"): lambda: broken(
        Uniform, times=lambda self, path, steps: [round(path.T * k / (steps + 1)) for k in range(steps, -1, -1)]
    ),
    ("grid", "times_are_always_the_same"): lambda: broken(
        Uniform, times=lambda self, path, steps: [path.T, *sorted(random.sample(range(1, path.T), steps - 1))[::-1], 0]
    ),
    ("route", "the_route_is_a_path_from_the_clean_image_on"): lambda: broken(
        ResidualFirst, path=lambda self, own: replace(own, corners=(own.T,))
    ),
    ("route", "the_route_ends_where_training_does"): lambda: broken(
        ResidualFirst, path=lambda self, own: Path.dual(0.5 * own.B, own.C)
    ),
    ("route", "the_truth_leads_back_along_the_route"): lambda: broken(
        ResidualFirst, path=lambda self, own: path_with(B=at(10, torch.nan))
    ),
    ("route", "the_route_is_always_the_same_and_leaves_the_path"): lambda: broken(
        ResidualFirst, path=lambda self, own: (own.B.mul_(0.5), own)[1]
    ),
    ("backbone", "build_gives_a_module"): lambda: broken(type(network()), build=lambda self, i, o, times: torch.relu),
    ("backbone", "the_output_has_the_channels_asked_for_and_the_size_of_the_input"): lambda: network(
        lambda self, x, time: Conv.forward(self, x, time)[..., 1:]
    ),
    ("backbone", "a_fresh_network_is_bounded"): lambda: network(
        lambda self, x, time: 1e4 * Conv.forward(self, x, time)
    ),
    ("backbone", "every_time_matters"): lambda: network(
        lambda self, x, time: Conv.forward(self, x, time * torch.eye(1, time.shape[1]))
    ),
    ("backbone", "items_of_a_batch_do_not_influence_each_other"): lambda: network(
        lambda self, x, time: Conv.forward(self, x - x.mean(0), time)
    ),
    ("backbone", "finite_gradients_reach_every_parameter"): lambda: network(init=with_extra),
    ("backbone", "equal_seeds_give_equal_weights_and_outputs"): lambda: network(init=seeded_by_the_clock),
    ("backbone", "a_state_dict_carries_the_whole_network"): lambda: network(
        lambda self, x, time: Conv.forward(self, x, time) + self.offset, init=with_plain_tensor
    ),
    ("backbone", "another_dtype_keeps_the_time"): lambda: network(
        lambda self, x, time: Conv.forward(self, x, time.to(x.dtype))
    ),
    ("backbone", "torch_compile_takes_it_whole"): lambda: network(
        lambda self, x, time: Conv.forward(self, x, time) * (2 if float(x.sum()) > 1e9 else 1)
    ),
    ("backbone", "one_pair_is_learnt_by_heart"): lambda: network(
        lambda self, x, time: 1e-3 * torch.tanh(Conv.forward(self, x, time))
    ),
    ("task", "an_example_is_tensors_of_one_size_in_range"): lambda: broken(
        Paired, PAIR, example=changed("input", lambda image: 2 * image - 1)
    ),
    ("task", "an_example_follows_from_record_crop_and_generator"): lambda: broken(
        Paired, PAIR, example=careless_example
    ),
    ("task", "a_whole_example_has_the_size_of_its_record"): lambda: broken(
        Paired,
        PAIR,
        example=lambda self, record, crop, generator: {
            role: image[:, :24, :24] for role, image in Paired.example(self, record, crop, generator).items()
        },
    ),
    ("task", "the_condition_has_the_channels_that_conditions_says"): lambda: broken(
        Paired, PAIR, condition=lambda self, x_in, extras: x_in[:, :1]
    ),
    ("task", "what_is_known_is_the_target"): lambda: broken(
        Inpainting, PAIR | {"keep_known": True}, known=lambda self, extras: extras["mask"] == 1
    ),
    ("task", "what_is_prepared_stays"): lambda: broken(Paired, PAIR, prepare=lambda self, x: 0.9 * x),
    ("task", "what_it_says_of_itself_is_so"): lambda: broken(
        Paired, PAIR, __annotations__={"from_noise": ClassVar[bool]}, from_noise=True
    ),
    ("task", "a_model_for_it_can_be_sampled"): lambda: broken(
        Paired, PAIR, condition=lambda self, x_in, extras: extras["mask"]
    ),
    ("task", "its_records_make_examples"): lambda: broken(
        Paired, PAIR, train_records=lambda self: Rows([noise(0, channels=7)])
    ),
    ("source", "names_are_unique_and_stay"): lambda: source(lambda: Rows(ROWS, names=["a", "b", "a"])),
    ("source", "records_hold_what_roles_and_sizes_say"): lambda: source(lambda: Rows(ROWS, sizes=[(5, 6)] * 3)),
    ("source", "labels_name_the_planes_of_the_label"): lambda: broken(
        type(source(lambda: Rows(ROWS))), {}, open=lambda self: Rows(ROWS), labels=property(lambda self: ("rain",))
    ),
    ("source", "records_are_a_sequence"): lambda: source(lambda: Cyclic(ROWS)),
    ("source", "records_reach_worker_processes"): lambda: source(lambda: Open(ROWS)),
    ("source", "weights_are_shares"): lambda: source(lambda: Rows(ROWS, weights=[1.0, -1.0, 2.0])),
    ("degradation", "shape_type_and_range_are_kept"): lambda: broken(
        Noise, __call__=lambda self, clean, generator: clean + 0.1 * torch.randn(clean.shape, generator=generator)
    ),
    ("degradation", "all_randomness_is_its_generators"): lambda: broken(
        Noise, __call__=lambda self, clean, generator: (clean + 0.1 * torch.randn(clean.shape)).clamp(0, 1)
    ),
    ("degradation", "the_memory_layout_makes_no_difference"): lambda: broken(
        Noise,
        __call__=lambda self, clean, generator: (
            clean + 0.1 * torch.empty_like(clean).normal_(generator=generator)
        ).clamp(0, 1),
    ),
    ("degradation", "the_clean_image_is_left_as_it_was"): lambda: broken(
        Noise, __call__=lambda self, clean, generator: clean.clamp_(0, 0.5)
    ),
    ("degradation", "extras_come_with_the_input"): lambda: broken(
        Noise, __annotations__={"extras": ClassVar[dict[str, int]]}, extras={"mask": 1}
    ),
    ("mask", "a_mask_is_ones_in_a_hole_among_zeros_at_any_size"): lambda: broken(
        Box, __call__=lambda self, height, width, generator: torch.zeros(1, height, width)
    ),
    ("mask", "masks_follow_from_their_generator"): lambda: broken(
        Box, __call__=lambda self, height, width, generator: Box.__call__(self, height, width, torch.default_generator)
    ),
    ("metric", "keys_name_the_figures"): lambda: broken(PSNR, keys=property(lambda self: ["psnr"])),
    ("metric", "figures_are_finite_floats_by_key"): lambda: measuring(
        lambda output, target: (output - target).square().mean()
    ),
    ("metric", "more_noise_is_worse"): lambda: measuring(
        lambda output, target: (output - target).square().mean().item()
    ),
    ("metric", "measuring_changes_nothing"): lambda: measuring(lambda output, target: torch.rand(()).item()),
    ("metric", "a_set_has_no_order"): lambda: broken(
        SWD, compare=lambda self, outputs, targets: {"swd": (next(iter(outputs)) - next(iter(targets))).norm().item()}
    ),
    ("metric", "weights_are_shares_by_key"): lambda: broken(PSNR, weights=lambda self, output, extras: {"other": 1.0}),
}


def test_every_property_has_something_that_breaks_it():
    assert set(BROKEN) == {(one.kind, one.name) for kind in registry.KINDS for one in contract(kind)}


@pytest.mark.filterwarnings("ignore:.* cannot be named in a spec yet")
@pytest.mark.parametrize(("kind", "name"), BROKEN, ids=[" ".join(one) for one in BROKEN])
def test_what_breaks_a_property_is_told_which_with_what_was_found_and_what_to_change(kind, name):
    part = BROKEN[kind, name]()
    others = [one for one in contract(part.kind) if one.name != name]
    options = {"data": True} if name == "its_records_make_examples" else {}
    with pytest.raises(ContractError) as caught:
        check(part, leave_out=[one.name for one in others], **options)
    (one,) = (one for one in contract(part.kind) if one.name == name)
    text = str(caught.value)
    assert text.startswith(f"{part.kind} {part.name!r} (")
    assert f"1. {name}\n   says: {one.sentence}\n   found: " in text
    assert text.count(f"\n   mend: {one.mend}") == 1
    assert not re.search(r"found: (AttributeError|NameError|TypeError)", text), text  # by mistake, not by property


def shown(name: str, part: Component, **options: Any) -> None:
    """Test one property alone."""
    check(part, leave_out=[one.name for one in contract(part.kind) if one.name != name], **options)


class Spotty(Rows):
    """Records of which those that are None cannot be read, without sizes."""

    def __init__(self, rows, role="target"):
        super().__init__(rows, sizes=[None] * len(rows))
        self.role = role

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if self.rows[index] is None:
            raise DataError("no image")
        return {self.role: self.rows[index]}


def times_by(times: Callable[[int, int], list[int]], refuses: Callable[[int, int], bool]) -> Component:
    """A grid by T and steps, and what it refuses."""

    def checked(self, path, steps):
        if refuses(path.T, steps):
            raise SpecError("Spec", [((), "no")])
        return times(path.T, steps)

    return broken(Uniform, times=checked)


def four(T: int, steps: int) -> list[int]:
    return [T * k // 4 for k in range(4, -1, -1)]


def evenly(T: int, steps: int) -> list[int]:
    return [T * k // steps for k in range(steps, -1, -1)]


def up_to_T(T: int, steps: int) -> list[int]:
    assert steps <= T
    return evenly(T, steps)


def wandering_in(T: int, steps: int) -> list[int]:
    return [T, *sorted(random.sample(range(1, T), steps - 1))[::-1], 0]


def predicting(p: Callable[[Path, Node], Any]) -> Component:
    return broken(SMRes, targets=lambda self, path, node: {"mine": (p(path, node), 1.0, 0.0)}, heads=("mine",))


def averaged(x, now, to, predict, draw, eta, memory):
    """Heun's step, with half of the noise kept where the path has none."""
    state, here, _ = first(x, now, to, predict, draw, eta, memory)
    if (to.t > 0).all():
        state = state + (to.C - now.C) / 2 * (predict(state, to).eps - here.eps)
    return state, here, None


def all_kept(x, now, to, predict, draw, eta, memory):
    """What the solver kappa does by the rule "one", with the noise kept until t = 0."""
    found, kept = predict(x, now), 1.0 if to.t > 0 else 0.0
    inputs = found.x0 + found.res
    return kept * x + (to.A - kept * now.A) * found.x0 + (to.B - kept * now.B) * inputs, found, None


def wiping(value: Any) -> Callable[..., Any]:
    def measure(self, output, extras, *others):
        (others or (extras,))[-1]["mask"].zero_()
        return value

    return measure


SILENT: dict[str, tuple[str, Callable[[], Component], dict[str, Any]]] = {  # what a property might overlook
    "roles and range of records without sizes": (
        "records_hold_what_roles_and_sizes_say",
        lambda: source(lambda: Spotty([np.full((6, 5, 3), 7.0)] * 3, role="image")),
        {},
    ),
    "range of records without sizes": (
        "records_hold_what_roles_and_sizes_say",
        lambda: source(lambda: Spotty([None, np.full((6, 5, 3), 7.0)])),
        {},
    ),
    "no record can be read": (
        "records_hold_what_roles_and_sizes_say",
        lambda: source(lambda: Spotty([None, None])),
        {},
    ),
    "few steps are refused, and four are made of others": (
        "times_fall_from_T_to_0_in_the_steps_asked_for",
        lambda: times_by(four, lambda T, steps: steps < 4),
        {"T": 50},
    ),
    "few steps are refused": (
        "times_fall_from_T_to_0_in_the_steps_asked_for",
        lambda: times_by(evenly, lambda T, steps: steps < 4),
        {},
    ),
    "steps count along short paths only": (
        "times_fall_from_T_to_0_in_the_steps_asked_for",
        lambda: times_by(lambda T, steps: (four if T > 30 else evenly)(T, steps), lambda T, steps: False),
        {},
    ),
    "short paths are refused": (
        "times_fall_from_T_to_0_in_the_steps_asked_for",
        lambda: times_by(evenly, lambda T, steps: T < 30),
        {},
    ),
    "no path is taken": (
        "times_are_always_the_same",
        lambda: times_by(evenly, lambda T, steps: T != 50),
        {},
    ),
    "times along one path only are random": (
        "times_are_always_the_same",
        lambda: times_by(wandering_in, lambda T, steps: T != 50),
        {"T": 50},
    ),
    "targets look at the end": (
        "targets_that_look_beyond_the_node_are_bound",
        lambda: predicting(lambda path, node: -1 - path.C[-1]),
        {},
    ),
    "targets look at the share of the time": (
        "targets_that_look_beyond_the_node_are_bound",
        lambda: predicting(lambda path, node: -1 - node.t / path.T),
        {},
    ),
    "targets look at the time": (
        "targets_that_look_beyond_the_node_are_bound",
        lambda: predicting(lambda path, node: -1 - node.t / 1000),
        {},
    ),
    "targets look at the number of rows": (
        "targets_that_look_beyond_the_node_are_bound",
        lambda: predicting(lambda path, node: -1 - 1 / path.T),
        {},
    ),
    "noise is averaged with none": ("an_oracle_is_followed_to_the_clean_image", lambda: stepping(averaged), {}),
    "noise is kept where there is none": ("an_oracle_is_followed_to_the_clean_image", lambda: stepping(all_kept), {}),
    "better is no word for it": (
        "keys_name_the_figures",
        lambda: broken(PSNR, better="bigger", reference=False),
        {},
    ),
    "measure changes a mask": (
        "measuring_changes_nothing",
        lambda: broken(PSNR, measure=wiping({"psnr": 1.0})),
        MASKED,
    ),
    "weights changes a mask": ("measuring_changes_nothing", lambda: broken(PSNR, weights=wiping({})), MASKED),
}


@pytest.mark.filterwarnings("ignore:.* cannot be named in a spec yet")
@pytest.mark.parametrize("case", SILENT)
def test_a_fault_is_found_though_nothing_else_is_wrong(case):
    name, make, options = SILENT[case]
    with pytest.raises(ContractError, match=rf"1\. {name}\n.*\n   found: (?!AttributeError|NameError|TypeError)"):
        shown(name, make(), **options)


def test_what_check_was_given_is_not_changed_by_a_metric_that_changes_it():
    mask = torch.ones(1, 48, 40)
    with pytest.raises(ContractError, match="images, or extras, are changed in place"):
        shown("measuring_changes_nothing", broken(PSNR, weights=wiping({})), extras={"mask": mask})
    assert mask.all()


def dropping(self, x, time):
    """The convolution is left out of most items in training, as by stochastic depth."""
    y = Conv.forward(self, x, time)
    if not self.training:
        return y
    return torch.where(torch.rand(len(x), 1, 1, 1) > 0.8, y, y.detach())


def folding(m: int) -> Component:
    def forward(self, x, time):
        assert all(side % m == 0 for side in x.shape[2:])
        return Conv.forward(self, x, time)

    return broken(type(network(forward)), multiple=property(lambda self: m))


def outputs_alone(self, outputs, targets):
    one, other = (torch.stack(list(images)) for images in (outputs, targets))
    assert torch.equal(one, other)
    return {"swd": one.std().item()}


def degradation(spoil: Callable[[torch.Tensor, torch.Generator], torch.Tensor]) -> Component:
    return broken(Noise, __call__=lambda self, clean, generator: spoil(clean, generator))


def bit_by_bit(image: torch.Tensor) -> torch.Tensor:
    return (255 * image).round() / 255


LEGAL: dict[str, tuple[Callable[[], Component], dict[str, Any]]] = {
    **{f"a network of multiple {m}": (lambda m=m: folding(m), {"compile": False}) for m in (1, 3, 5, 6, 7, 9, 16)},
    "a network that drops its blocks at random": (lambda: network(dropping), {"compile": False}),
    "half an image and half its mean": (lambda: degradation(lambda clean, _: 0.5 * clean + 0.5 * clean.mean()), {}),
    "an image to some power": (lambda: degradation(lambda clean, g: clean.pow(draw((0.5, 3), g))), {}),
    "half an image and half its mean in 8 bits": (
        lambda: degradation(lambda clean, _: bit_by_bit(0.5 * clean + 0.5 * clean.mean())),
        {},
    ),
    "a metric of sets without reference": (lambda: broken(SWD, reference=False, compare=outputs_alone), {}),
    "a path of two steps": (lambda: times_by(up_to_T, lambda T, steps: False), {"T": 2}),
    "times of one's own": (lambda: Times(at=(50, 20, 0)), {"T": 50}),
    "times of one's own for the usual path": (lambda: Times(at=(1000, 20, 0)), {}),
    "times that start below T": (lambda: Spaced(offset=30, end=1), {}),
    "the first record cannot be read": (lambda: source(lambda: Spotty([None, *ROWS])), {}),
    "only the last record can be read": (lambda: source(lambda: Spotty([None] * 12 + ROWS[:1])), {}),
    "a head that is known, and told by numbers of another kind": (
        lambda: broken(SMRes, targets=lambda self, path, node: {"res": (-1, node.A * 0 + 1, 0)}),
        {},
    ),
}
OF_EVERY = ["its_entry_point_leads_to_it", "it_reaches_worker_processes"]  # of no class that is made in a function


@pytest.mark.parametrize("case", LEGAL)
def test_what_keeps_its_contract_in_an_unusual_way_passes(case):
    make, options = LEGAL[case]
    part = make()
    more = ["a_set_has_no_order", "more_noise_is_worse"] if part.kind == "metric" else []
    more += ["one_pair_is_learnt_by_heart"] if part.kind == "backbone" else []  # it is too small for some sizes
    more += ["records_reach_worker_processes"] if part.kind == "source" else []
    check(part, leave_out=[*OF_EVERY, *more], **options)


def test_an_unregistered_component_is_a_warning_that_says_what_to_write():
    part = network()
    left = [one.name for one in contract("backbone") if one.name != "its_entry_point_leads_to_it"]
    with pytest.warns(UserWarning, match=r'\[project.entry-points."rddm.backbones"\]\nmine = ".*test_contracts:'):
        check(part, leave_out=left)


def test_what_is_no_component_no_option_and_no_property_is_refused_with_what_there_is():
    with pytest.raises(TypeError, match=r"takes an instance of a component, such as check\(Uniform\(\)\)"):
        check(Uniform)
    with pytest.raises(TypeError, match="a grid has the option 'exmples'; did you mean 'examples'"):
        check(Uniform(), exmples=3)
    with pytest.raises(TypeError, match="a grid is called 'times'; .*known: .*times_are_always_the_same"):
        check(Uniform(), leave_out=["times"])


def test_all_that_is_broken_is_told_at_once_with_the_line_of_what_was_raised():
    def times(self, path, steps):
        raise ZeroDivisionError("odd")

    with pytest.raises(ContractError) as caught:
        check(broken(Uniform, times=times), leave_out=["its_entry_point_leads_to_it", "it_reaches_worker_processes"])
    text = str(caught.value)
    assert "breaks 2 of 7 properties" in text
    assert len(re.findall(r"found: ZeroDivisionError: odd, in \S*test_contracts\.py:\d+", text)) == 2
