"""`rddm.testing.check`: faults that a property might overlook are found, and unusual components that are right pass."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from planted import (
    MASKED,
    PAIR,
    ROWS,
    Conv,
    Lethal,
    Rows,
    at,
    broken,
    first,
    measuring,
    network,
    noise,
    path_with,
    source,
    stepping,
)
from torch import nn

from rddm.core.component import Component
from rddm.core.draws import draw
from rddm.core.errors import DataError, SpecError
from rddm.core.process import Node, Path
from rddm.degradations.noise import Noise
from rddm.grids.spaced import Spaced
from rddm.grids.times import Times
from rddm.grids.uniform import Uniform
from rddm.metrics.psnr import PSNR
from rddm.metrics.swd import SWD
from rddm.samplers.sm_res import SMRes
from rddm.schedules.power import Power
from rddm.solvers.kappa import Kappa
from rddm.tasks.inpainting import Inpainting
from rddm.tasks.paired import Paired
from rddm.testing import ContractError, check, contract


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


def at_eta(change: Callable[..., torch.Tensor]) -> Component:
    """The first-order solver, with its state changed, by draw and C, in steps at eta > 0 that do not end at 0."""

    def how(x, now, to, predict, draw, eta, memory):
        state, *rest = first(x, now, to, predict, draw, eta, memory)
        return change(state, draw, to.C) if eta > 0 and to.t > 0 else state, *rest

    return stepping(how)


def deterministic(error: Exception) -> Component:
    """A solver that refuses eta > 0 by this error."""

    def how(x, now, to, predict, draw, eta, memory):
        if eta > 0:
            raise error
        return first(x, now, to, predict, draw, eta, memory)

    return stepping(how)


def showing(extra: Callable[[torch.Tensor], torch.Tensor]) -> Component:
    """A degradation with a mask, made of the clean image."""
    return broken(
        Noise,
        __annotations__={"extras": ClassVar[dict[str, int]]},
        extras={"mask": 1},
        example=lambda self, clean, generator: {"input": self(clean, generator), "mask": extra(clean)},
    )


def by_numpy(self, record, crop, generator):
    found = Paired.example(self, record, crop, generator)
    np.random.rand(3)  # noqa: NPY002
    return found


def after_a_draw() -> Component:
    np.random.seed(0)  # noqa: NPY002
    np.random.rand()  # noqa: NPY002
    return broken(Paired, PAIR, example=by_numpy)


def off_by(limit: float) -> Callable[[torch.Tensor, torch.Tensor], float]:
    return lambda output, target: ((output - target).abs() > limit).double().mean().item()


def keyed(*keys: str) -> Component:
    return broken(PSNR, keys=property(lambda self: keys))


def spotty_task(*rows: Any) -> Component:
    records = Spotty(rows)
    return broken(Inpainting, PAIR, train_records=lambda self: records, eval_records=lambda self: records)


def sine(self) -> Path:
    rise = torch.linspace(0, 1, 21, dtype=torch.float64)
    return Path.dual(rise, torch.sin(torch.pi * (1 - rise / 2)))


def with_dropout(self, i, o, times):
    nn.Module.__init__(self)
    self.time, self.drop = nn.Linear(times, 128), nn.Dropout2d(0.5)
    self.ends, self.mid = nn.ModuleList((nn.Conv2d(i, 128, 3, padding=1), nn.Conv2d(128, o, 1))), nn.Conv2d(128, 128, 3)


def dropping_channels(self, x, time):
    x = self.ends[0](x) + self.time((time / 100).sin())[:, :, None, None]
    x = self.mid(nn.functional.pad(x.relu(), (1, 1, 1, 1)))
    return self.ends[1](self.drop(x.relu()))


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
    "eta is refused by another error": (
        "eta_above_0_is_drawn_or_refused",
        lambda: deterministic(ValueError("eta")),
        {},
    ),
    "17 times the noise is drawn": (
        "eta_above_0_is_drawn_or_refused",
        lambda: at_eta(lambda state, draw, C: state + 17 * C * draw()),
        {},
    ),
    "17 times the noise is drawn, and the path's marginals are another's": (
        "states_hold_the_noise_of_the_path",
        lambda: at_eta(lambda state, draw, C: state + 17 * C * draw()),
        {},
    ),
    "a tenth more noise is drawn": (
        "states_hold_the_noise_of_the_path",
        lambda: at_eta(lambda state, draw, C: state + 0.5 * C * draw()),
        {},
    ),
    "a condition is of another type": (
        "the_condition_has_the_channels_that_conditions_says",
        lambda: broken(Paired, PAIR, condition=lambda self, x_in, extras: x_in.double()),
        {},
    ),
    "example alone blackens the clean image": (
        "the_clean_image_is_left_as_it_was",
        lambda: broken(Noise, example=lambda self, clean, generator: {"input": clean.zero_()}),
        {},
    ),
    "an extra is a view of the clean image": (
        "the_clean_image_is_left_as_it_was",
        lambda: showing(lambda clean: clean[:1]),
        {},
    ),
    "an example draws by numpy, after another draw": (
        "an_example_follows_from_record_crop_and_generator",
        after_a_draw,
        {},
    ),
    "row 0 is a little off": (
        "the_path_is_float64_tables_from_the_clean_image_on",
        lambda: broken(Power, path=lambda self: path_with(A=at(0, 1 + 1e-9))),
        {},
    ),
    "no noise changes a figure": ("more_noise_is_worse", lambda: measuring(off_by(2), better="lower"), {}),
    "little noise improves a figure": (
        "more_noise_is_worse",
        lambda: measuring(lambda output, target: ((output - target).std().item() - 0.1) ** 2, better="lower"),
        {},
    ),
    "a key is an evaluation's": ("keys_name_the_figures", lambda: keyed("psnr", "missing"), {}),
    "a key is that of the input": ("keys_name_the_figures", lambda: keyed("input_psnr"), {}),
    "no record of a task can be read": ("its_records_make_examples", lambda: spotty_task(None, None), {"data": True}),
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
    "a solver without eta": (lambda: deterministic(SpecError("Spec", [(("sampler", "eta"), "no")])), {}),
    "an extra of one value for all pixels": (
        lambda: showing(lambda clean: torch.ones(()).expand(1, *clean.shape[1:])),
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
    "a sine, whose row 0 is rounded": (lambda: broken(Power, path=sine), {}),
}
ALONE: dict[str, tuple[str, Callable[[], Component], dict[str, Any]]] = {  # right in this, if in nothing else
    "a solver that draws all noise anew": ("eta_above_0_is_drawn_or_refused", lambda: Kappa(rule="zero"), {}),
    "a solver that keeps what I_in leaves": ("eta_above_0_is_drawn_or_refused", lambda: Kappa(rule="input"), {}),
    "a figure of what is far off": ("more_noise_is_worse", lambda: measuring(off_by(0.1), better="lower"), {}),
    "a network with dropout": (
        "one_pair_is_learnt_by_heart",
        lambda: network(dropping_channels, init=with_dropout),
        {},
    ),
    "a task whose first records cannot be read": (
        "its_records_make_examples",
        lambda: spotty_task(None, None, noise(0)),
        {"data": True},
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


@pytest.mark.parametrize("case", ALONE)
def test_a_property_holds_for_what_keeps_it_in_an_unusual_way(case):
    name, make, options = ALONE[case]
    shown(name, make(), **options)


def test_a_component_that_ends_the_other_process_hinders_no_other():
    with pytest.raises(ContractError, match="found: a process that was started afresh, and read it, ended, with .* 3"):
        shown("it_reaches_worker_processes", Lethal(home=os.getpid()))
    shown("it_reaches_worker_processes", Uniform())


SCRIPT = """
from rddm.grids.uniform import Uniform
from rddm.testing import check, contract

class Here(Uniform):
    "Its class is the program's."

rest = [one.name for one in contract("grid") if one.name != "it_reaches_worker_processes"]
check(Uniform(), leave_out=rest)
print("good")
check(Here(), leave_out=rest)
"""


@pytest.mark.parametrize("way", ["a file", "the standard input"])
def test_a_program_without_a_guard_is_not_run_again_in_the_other_process(way, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    program, text = ([str(file)], "") if way == "a file" else (["-"], SCRIPT)
    done = subprocess.run([sys.executable, *program], input=text, capture_output=True, text=True)
    assert done.stdout == "good\n"
    assert "found: its class is defined in the program that was started" in done.stderr


def test_of_several_faults_that_break_one_property_one_is_told_with_its_case():
    def spoil(clean, generator):
        if clean.shape[-1] > 20:
            raise ZeroDivisionError("wide")
        return clean + torch.rand(())

    with pytest.raises(ContractError, match=r"found: (it draws from the global|ZeroDivisionError: wide).*\n   case: "):
        shown("all_randomness_is_its_generators", degradation(spoil))
