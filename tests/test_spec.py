"""Specs: round trips, overrides, and errors that say what to type."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import samplers, schedules

import rddm
from rddm import EMA, RddmError, Spec, SpecError, Training
from rddm.core import kinds, registry
from rddm.core.entity import Entity
from rddm.core.errors import MissingPartError
from rddm.core.schema import spec_schema
from rddm.core.spec import override, read_table

TASK = {"name": "paired", "train": "data/train", "eval": "data/test"}


def spec_of(**parts) -> Spec:
    return Spec(task=TASK, **parts)


@given(schedules(), samplers(), st.booleans())
def test_a_spec_survives_python_json_and_yaml(tmp_path_factory, schedule, sampler, ema):
    spec = spec_of(schedule=schedule, sampler=sampler, training=Training(ema=EMA(decay=0.9) if ema else None, lr=1e-3))
    file = tmp_path_factory.mktemp("spec") / "spec.yaml"
    file.write_text(spec.to_yaml())
    assert Spec(**spec.model_dump()) == spec
    assert Spec(**json.loads(json.dumps(spec.model_dump(mode="json")))) == spec
    assert Spec(**read_table(file)) == spec
    assert Spec(**read_table(file)).id == spec.id


def test_typed_objects_names_and_tables_mean_the_same():
    from rddm.samplers.sm_res import SMRes
    from rddm.schedules.power import Power

    typed = spec_of(schedule=Power(T=10), sampler=SMRes())
    assert typed == spec_of(schedule={"name": "power", "T": 10}, sampler="sm-res")


def test_a_message_tells_the_first_of_very_many_problems_and_how_many_more_there_are():
    with pytest.raises(SpecError) as caught:
        spec_of(schedule={"name": "table", "abar": ["x"] * 999, "bbar": [0, 1]})
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) > 999 - 1
    assert len(lines) == 12
    assert "schedule.abar.0" in lines[1]
    assert lines[-1] == f"  and {len(caught.value.problems) - 10} more"


def test_different_specs_have_different_ids():
    assert spec_of().id == spec_of().id
    assert spec_of().id != spec_of(training={"lr": 1e-3}).id


def test_yaml_is_1_2_and_toml_and_json_say_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 1e-3\nprecision: no\n")
    (tmp_path / "a.toml").write_text('lr = 1e-3\nprecision = "no"\n')
    (tmp_path / "a.json").write_text('{"lr": 1e-3, "precision": "no"}')
    tables = [read_table(tmp_path / f"a.{end}") for end in ("yaml", "toml", "json")]
    assert tables == [{"lr": 0.001, "precision": "no"}] * 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "lr: 1\nlr: 2\n", "duplicate"),
        ("a.yaml", "a: [1", "cannot be read"),
        ("a.yaml", "- 1\n", "must hold a table"),
        ("a.yaml", "", "must hold a table"),
        ("a.toml", "a = ", "cannot be read"),
        ("a.txt", "a: 1", "must end in .yaml"),
    ],
)
def test_spec_files_that_cannot_be_read_say_why(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=message):
        read_table(tmp_path / name)
    with pytest.raises(SpecError, match="no such file"):
        read_table(tmp_path / "missing.yaml")


def test_overrides_reach_any_depth_and_turn_names_into_tables():
    table = {"sampler": "sm-res-n", "training": {"lr": 1e-3}}
    changed = override(table, ["sampler.steps=7", "training.lr=2e-4", "training.ema=null", "schedule=ddim"])
    assert changed == {
        "sampler": {"name": "sm-res-n", "steps": 7},
        "training": {"lr": 2e-4, "ema": None},
        "schedule": "ddim",
    }
    assert table == {"sampler": "sm-res-n", "training": {"lr": 1e-3}}


def test_overriding_a_part_by_its_own_name_keeps_its_keys_and_by_another_drops_them():
    table = {"schedule": {"name": "power", "T": 10}}
    assert override(table, ["schedule=power"]) == table
    assert override(table, ["schedule=ddim"]) == {"schedule": "ddim"}


@pytest.mark.parametrize("assignment", ["steps", "=3", "a..b=1", "a=[1", "training.lr.x=1"])
def test_overrides_that_are_none_say_what_to_type(assignment):
    with pytest.raises(SpecError, match="override"):
        override({"training": {"lr": 1e-3}}, [assignment])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"samplr": "sm-res"}, "samplr: unknown key; did you mean 'sampler'"),
        ({"sampler": "smres"}, "sampler: unknown sampler 'smres'; did you mean 'sm-res'"),
        ({"sampler": {"name": "sm-res", "step": 3}}, "sampler.step: unknown key; did you mean 'steps'"),
        ({"sampler": {"name": "sm-res", "steps": 0}}, "sampler.steps: .*greater than or equal to 1; given 0"),
        ({"sampler": {"steps": 3}}, "sampler: must be a name"),
        ({"sampler": 3}, "sampler: must be a name .*given 3"),
        ({"training": {"ema": {"decay": 2}}}, "training.ema.decay: .*less than 1; given 2"),
        ({"training": {"lr": "fast"}}, "training.lr: .*valid number.*given 'fast'"),
        ({"sampler": {"name": "sm-res", "solver": {"name": "heun3"}}}, "sampler.solver: unknown solver"),
        ({"sampler": {"name": "sm-res", "nets": 2}}, "sampler.nets: .*1; given 2"),
        ({"training": {"optimizer": "adamm"}}, "training.optimizer.*adamm"),
        ({"training": {"loss_weights": {"eps": 1}}}, "loss_weights.*eps.*no heads of sm-res-n"),
        (
            {"sampler": {"name": "sm-res", "steps": 11}, "schedule": {"name": "power", "T": 10}},
            "sampler.steps: must be an integer in 1..10",
        ),
        ({"task": {"name": "paired", "train": "a"}}, "task.eval: is required"),
        ({"task": {"name": "paired", "train": "a", "eval": "b", "degradation": "rainn"}}, "did you mean 'rain'"),
    ],
)
def test_every_mistake_in_a_spec_is_named_with_its_path(table, message):
    with pytest.raises(RddmError, match=message):
        rddm.build({"task": TASK} | table)


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(SpecError) as error:
        Spec(task={"name": "paired"}, schedule={"name": "power", "T": 0, "tea": 1}, training={"steps": 0})
    paths = {".".join(map(str, path)) for path, _ in error.value.problems}
    assert paths == {"task.train", "task.eval", "schedule.T", "schedule.tea", "training.steps"}


def test_what_is_no_spec_at_all_is_refused(tmp_path):
    for wrong in (None, 3, tmp_path / "none.yaml"):
        with pytest.raises(SpecError):
            rddm.build(wrong)


def test_keys_that_are_no_texts_are_named():
    for table in ({1: 2}, {"training": {1: 2}}, {"schedule": {"name": "power", 3: 4}}):
        with pytest.raises(SpecError, match="keys are texts; given"):
            rddm.build({"task": TASK} | table)


def test_fp16_with_an_optimizer_for_each_network_is_refused():
    with pytest.raises(SpecError, match=r"training\.precision: fp16 scales the gradients of one optimizer"):
        rddm.build({"task": TASK, "training": {"precision": "fp16", "per_network": True}})


def test_specs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        spec_of().training.lr = 1.0


def test_an_entity_finds_parts_by_kind_and_shares_them_when_one_is_replaced():
    from rddm.core.network import Network
    from rddm.samplers.sm_res import SMRes

    trainer = rddm.build({"task": TASK, "backbone": {"name": "unet", "width": 8}})
    other = trainer.replace(SMRes(steps=3))
    assert other[kinds.Sampler] == SMRes(steps=3)
    assert trainer[kinds.Sampler].name == "sm-res-n"
    assert other[Network] is trainer[Network]
    with pytest.raises(MissingPartError, match="needs a Solver, which the entity lacks; it has: .*Sampler"):
        Entity([SMRes()])[kinds.Solver]
    with pytest.raises(MissingPartError, match="needs a schedule, which"):
        trainer["schedule"]


def test_the_json_schema_knows_every_installed_component():
    schema = spec_schema()
    text = json.dumps(schema)
    for kind in registry.KINDS:
        names = {table["properties"]["name"]["const"] for table in schema["$defs"][kind]["anyOf"][1:]}
        assert names == set(registry.names(kind))
    assert "x-kind" not in text
    assert schema["additionalProperties"] is False
