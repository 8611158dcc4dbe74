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
from planted import (
    MASKED,
    PAIR,
    ROWS,
    Conv,
    Cyclic,
    Open,
    Rows,
    at,
    broken,
    careless_example,
    changed,
    falling,
    first,
    measuring,
    network,
    noise,
    path_with,
    remembering,
    scalar_only,
    schedule,
    seeded_by_the_clock,
    skewed,
    source,
    stepping,
    undecided,
    wandering,
    with_extra,
    with_plain_tensor,
)
from pydantic import ConfigDict
from strategies import REQUIRED, SMALL

from rddm.core import images, kinds, registry
from rddm.core.component import Component
from rddm.core.heads import X0
from rddm.core.kinds import Backbone
from rddm.core.process import Path, check_eta
from rddm.degradations.noise import Noise
from rddm.grids.uniform import Uniform
from rddm.masks.box import Box
from rddm.metrics.psnr import PSNR
from rddm.metrics.swd import SWD
from rddm.routes.residual_first import ResidualFirst
from rddm.samplers.sm_res import SMRes
from rddm.schedules.power import Power
from rddm.tasks.inpainting import Inpainting
from rddm.tasks.paired import Paired
from rddm.testing import ContractError, check, contract
from rddm.testing.strategies import built_in

KINDS = {kind: getattr(kinds, kind.capitalize()) for kind in registry.KINDS}


# ------------------------------------------------------------------------------- what is registered keeps its contract
MEASURED = ["figures_are_finite_floats_by_key", "more_noise_is_worse", "measuring_changes_nothing"]
NO_WEIGHTS = {"leave_out": MEASURED}  # those of sets and of networks have tests with weights of their own
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("solver", "first-order"): {"evaluations": 1},
    ("solver", "posterior"): {"evaluations": 1},
    ("solver", "heun"): {"evaluations": 2, "order": 2.0},
    ("solver", "multistep"): {"evaluations": 1, "order": 2.0},
    # its rule "one" has marginals of its own
    ("solver", "kappa"): {
        "evaluations": 1,
        "leave_out": ["states_hold_the_noise_of_the_path", "the_error_falls_at_least_with_the_step"],
    },
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
    ("solver", "eta_above_0_is_drawn_or_refused"): lambda: stepping(
        lambda x, now, to, predict, draw, eta, memory: (check_eta(eta), first(x, now, to, predict, draw, 0, memory))[1]
    ),
    ("solver", "states_hold_the_noise_of_the_path"): lambda: stepping(
        lambda x, now, to, predict, draw, eta, memory: first(x, now, to, predict, lambda: 0.5 * draw(), eta, memory)
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


def test_an_unregistered_component_is_a_warning_that_says_what_to_write():
    part = network()
    left = [one.name for one in contract("backbone") if one.name != "its_entry_point_leads_to_it"]
    with pytest.warns(UserWarning, match=r'\[project.entry-points."rddm.backbones"\]\nmine = ".*planted:'):
        check(part, leave_out=left)


def test_what_is_no_component_no_option_and_no_property_is_refused_with_what_there_is():
    with pytest.raises(TypeError, match=r"takes an instance of a component, such as check\(Uniform\(\)\)"):
        check(Uniform)
    with pytest.raises(TypeError, match="a grid has the option 'exmples'; did you mean 'examples'"):
        check(Uniform(), exmples=3)
    for some in (["times"], "times"):
        with pytest.raises(TypeError, match="a grid is called 'times'; .*known: .*times_are_always_the_same"):
            check(Uniform(), leave_out=some)


def test_one_name_to_leave_out_may_be_a_text():
    one = "times_fall_from_T_to_0_in_the_steps_asked_for"
    assert {part.name for part in contract("grid")} - {part.name for part in check(Uniform(), leave_out=one)} == {one}


def test_all_that_is_broken_is_told_at_once_with_the_line_of_what_was_raised():
    def times(self, path, steps):
        raise ZeroDivisionError("odd")

    with pytest.raises(ContractError) as caught:
        check(
            broken(Uniform, times=times, __module__=__name__),
            leave_out=["its_entry_point_leads_to_it", "it_reaches_worker_processes"],
        )
    text = str(caught.value)
    assert "breaks 2 of 7 properties" in text
    assert len(re.findall(r"found: ZeroDivisionError: odd, in \S*test_contracts\.py:\d+", text)) == 2
