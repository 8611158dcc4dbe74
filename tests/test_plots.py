"""Figures: what is drawn, that it can be read, and that files appear whole or not at all."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from strategies import component
from typer.testing import CliRunner

import rddm
from rddm import OutputError, RddmError, SpecError
from rddm.cli import app
from rddm.core.images import to_array
from rddm.core.kinds import Schedule
from rddm.core.systems.trajectory import itinerary
from rddm.plots import route, schedule, trajectory
from rddm.plots.figure import figure
from rddm.schedules.power import Power
from rddm.testing.strategies import built_in

runner = CliRunner()
BACKBONE = {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]}


def call(*words, code=0):
    result = runner.invoke(app, ["plot", *map(str, words)])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, as matplotlib objects."""
    figures, write = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (write(self, *a, **k), figures.append(self))[0])
    return figures


def paths_of(*names):
    return {name: component(Schedule, name).path() for name in names}


def overlaps(figure):
    """Pairs of texts that lie over each other."""
    figure.draw_without_rendering()
    ticks = [
        tick
        for axis in figure.axes
        for side, view in ((axis.xaxis, axis.viewLim.intervalx), (axis.yaxis, axis.viewLim.intervaly))
        for tick in (*side.get_major_ticks(), *side.get_minor_ticks())
        if not min(view) <= tick.get_loc() <= max(view)
    ]
    hidden = {id(label) for tick in ticks for label in (tick.label1, tick.label2)}  # kept, but not drawn
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and id(text) not in hidden]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


# --------------------------------------------------------------------------------------------- schedules
def test_speeds_add_up_to_the_weights_and_the_legend_tells_the_sum_of_the_variances(tmp_path, drawn):
    path = Power(beta_T2=0.01).path()
    schedule.draw({"mine": path}, tmp_path / "a.png")
    axes = drawn[0].axes
    curves = [[line.get_ydata() for line in axis.get_lines()] for axis in axes]
    assert curves[0][0][0] == pytest.approx(2 * 1000 / 1001)  # decreasing from 2
    assert np.sum(curves[0][0]) / 1000 == pytest.approx(1)
    assert np.sum(curves[1][0]) / 1000 == pytest.approx(0.01)
    np.testing.assert_allclose(curves[2][0], path.B)
    np.testing.assert_allclose(curves[2][1], path.C)
    assert len(curves[2]) == 2  # A is 1 - B, and not drawn
    assert np.nansum(curves[3][0]) / 1000 == pytest.approx(path.posterior_variance.sum().item())
    np.testing.assert_allclose(axes[4].get_lines()[0].get_xdata(), path.B, atol=1e-12)
    assert curves[5][0][499] == pytest.approx((20 * (path.A[500] / path.C[500]).log10()).item())
    [text] = drawn[0].legends[0].get_texts()
    assert text.get_text() == r"mine   ($\Sigma\sigma_t^2$ = 0.00996, $C_T^2$ = 0.01)"


SCHEDULES = built_in("schedule")


@pytest.mark.parametrize("names", [SCHEDULES[i : i + 6] for i in range(0, len(SCHEDULES), 6)], ids=" ".join)
def test_every_schedule_is_drawn_and_read_without_texts_over_each_other(names, tmp_path, drawn):
    schedule.draw(paths_of(*names), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1800, 990)
    assert overlaps(drawn[0]) == []


def test_of_a_path_that_is_not_of_residual_form_all_three_weights_are_drawn(tmp_path, drawn):
    schedule.draw(paths_of("power", "vp"), tmp_path / "a.svg")
    styles = [line.get_linestyle() for line in drawn[0].axes[2].get_lines()]
    assert styles == ["-", "--", "-", "--", ":"]
    assert len(drawn[0].axes[2].get_legend().get_texts()) == 3


def test_more_curves_than_colours_are_refused(tmp_path):
    paths = {str(T): Power(T=T).path() for T in range(2, 10)}
    with pytest.raises(SpecError, match="at most 7 curves can be told apart; given 8"):
        schedule.draw(paths, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_dollar_signs_in_a_name_are_no_mathematics(tmp_path, drawn):
    schedule.draw({"10$ and $x_$": Power(T=5).path()}, tmp_path / "a.png")
    assert overlaps(drawn[0]) == []


@pytest.mark.parametrize(
    ("words", "T", "end"),
    [
        (["power:T=10,beta_T2=0.25"], 10, 0.5),
        (["power:T=10", "-s", "beta_T2=0.25"], 10, 0.5),
        (["spec.yaml"], 20, 0.1),
        (["spec.yaml:T=30"], 30, 0.1),
        (["short.toml"], 1000, 1),
        (["table:abar=[0, 0.5, 1],bbar=[0, 0.1, 0.2]"], 2, 0.2),
    ],
)
def test_schedules_are_named_with_parameters_or_by_a_spec(words, T, end, tmp_path, drawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text("schedule: {name: power, T: 20, beta_T2: 0.01}")
    (tmp_path / "short.toml").write_text("schedule = 'power'")
    call("schedule", *words, "--out", "a.pdf")
    curve = drawn[0].axes[2].get_lines()[1].get_ydata()
    assert len(curve) == T + 1
    assert curve[-1] == pytest.approx(end)
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "--out", "a.png"], "unknown schedule 'nothing'"),
        (["power:speed=3", "--out", "a.png"], "speed: unknown key"),
        (["power:T", "--out", "a.png"], "must be key=value"),
        (["power", "--out", "a.jpg"], "files named .png .svg .pdf; given 'a.jpg'"),
    ],
)
def test_what_cannot_be_drawn_is_an_error_in_words(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in call("schedule", *words, code=2).stderr
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ routes
def test_dots_are_the_states_that_sampling_visits_and_arrows_lead_to_the_clean_image(tmp_path, drawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("route", "noise-first", "curve:points=[[1, 1], [0.2, 0.9], [0, 0]]", "--steps", 4, "--out", "a.png")
    [axis] = drawn[0].axes
    lines = axis.get_lines()
    assert len(lines) == 6  # a curve and its dots for the training path and both routes
    path = Power().path()
    np.testing.assert_allclose(lines[0].get_xydata(), torch.stack([path.B, path.C], 1), atol=1e-12)
    np.testing.assert_allclose(lines[1].get_xydata(), torch.stack([path.B, path.C], 1)[[1000, 750, 500, 250, 0]])
    assert [1.0, 0.0] in lines[3].get_xydata().tolist()  # the corner: the input without noise
    assert np.abs(lines[5].get_xydata() - [0.2, 0.9]).sum(1).min() < 1e-3
    arrows = [text for text in axis.texts if text.arrow_patch is not None]
    assert len(arrows) == 6
    assert all(np.greater_equal(arrow.get_position(), arrow.xy).all() for arrow in arrows)
    assert overlaps(drawn[0]) == []


def test_each_grid_has_its_panel(tmp_path, drawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grids = ["uniform", "arc-length", "power:exponent=3"]
    options = [word for grid in grids for word in ("--grid", grid)]
    call("route", "--schedule", "power:beta2=mean,beta_T2=0.01", *options, "--out", "a.png")
    assert [axis.get_title() for axis in drawn[0].axes] == grids
    last = [axis.get_lines()[1].get_ydata()[-2] for axis in drawn[0].axes]  # noise left before the last step
    assert last[1] < last[0]
    assert last[2] < last[0]
    assert overlaps(drawn[0]) == []


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_any_number_of_steps_has_its_arrows(steps, tmp_path, drawn):
    path = Power().path()
    times = [1000 * k // steps for k in range(steps, -1, -1)]
    route.draw({"uniform": {"own": (path, times)}}, tmp_path / "a.png")
    assert len(drawn[0].axes[0].get_lines()[1].get_xdata()) == steps + 1


# ------------------------------------------------------------------------------------------- trajectories
def trainer_of(**changes):
    spec = {"task": {"name": "paired", "train": "a", "eval": "b"}, "backbone": BACKBONE, "training": {"crop": 8}}
    return rddm.build(spec | changes)


def pictures(figure, columns):
    arrays = [axis.get_images()[0].get_array() for axis in figure.axes]
    return [arrays[i : i + columns] for i in range(0, len(arrays), columns)]


@pytest.mark.parametrize(
    ("sampler", "solver"), [("sm-res", "first-order"), ("sm-res-n", "multistep"), ("sm-x0-n", "heun")]
)
def test_a_strip_goes_from_the_start_to_what_restore_gives(sampler, solver, tmp_path, drawn):
    trainer = trainer_of(sampler={"name": sampler, "solver": solver, "steps": 7})
    image = torch.rand(1, 3, 16, 24)
    generator = torch.Generator().manual_seed(3)
    trajectory.draw(trainer, image * 2 - 1, tmp_path / "a.png", generator=generator, columns=4)
    rows = pictures(drawn[0], 4)
    assert len(rows) == 4
    want = trainer.restore(image, generator=torch.Generator().manual_seed(3))
    assert np.array_equal(rows[0][-1], to_array(want[0]))
    assert np.array_equal(rows[3][-1], to_array(want[0]))
    noise = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(3))
    assert np.array_equal(rows[0][0], to_array(((image * 2 - 1 + noise) / 2 + 0.5)[0]))
    assert (np.asarray(rows[2][-1]) == 128).all()  # no noise is left
    titles = [axis.get_title().split("\n")[0] for axis in drawn[0].axes[:4]]
    assert titles == [f"$t$ = {t}" for t in (1000, 714, 285, 0)]
    assert overlaps(drawn[0]) == []


def test_the_residual_is_grey_where_it_is_0_lighter_above_and_darker_below(tmp_path, drawn, monkeypatch):
    trainer = trainer_of(sampler={"name": "sm-res", "steps": 1})
    res = torch.zeros(1, 3, 8, 8)
    res[..., 0], res[..., 1] = 0.8, -0.8
    network = trainer[rddm.core.network.Network]
    monkeypatch.setattr(type(network), "forward", lambda self, x, times, heads: {"res": res})
    trajectory.draw(trainer, res * 0, tmp_path / "a.png", generator=torch.Generator(), columns=2)
    shown = np.asarray(pictures(drawn[0], 2)[1][0])
    assert shown[0, :3, 0].tolist() == [255, 0, 128]
    assert drawn[0].axes[2].get_ylabel() == "residual\n(grey 0, ±0.8)"


@pytest.mark.parametrize(
    ("schedule", "label", "title"),
    [
        ({"name": "ve", "T": 10}, "state $I_t$\n/ max(1, $C_t$)", r"$\bar\alpha$ = 0.00, $\bar\beta$ = 80.00"),
        ({"name": "vp", "betas": "squared-cosine"}, "state $I_t$", "$A, B, C$ = 0.00, 0.00, 1.00"),
    ],
)
def test_a_generation_run_draws_the_image_that_sample_draws(schedule, label, title, tmp_path, drawn):
    task = {"name": "generation", "train": "a", "eval": "b", "channels": 1}
    trainer = trainer_of(task=task, schedule=schedule, sampler={"name": "sm-x0", "steps": 3})
    trainer.save(tmp_path / "run")
    call("trajectory", tmp_path / "run", "--seed", 5, "--out", tmp_path / "a.png", "--device", "cpu")
    rows = pictures(drawn[0], 4)
    want = to_array(trainer.sample(1, seed=5)[0])
    assert np.array_equal(rows[0][-1], np.repeat(want, 3, axis=2))  # grey, of training's size
    assert drawn[0].axes[0].get_ylabel() == label
    assert drawn[0].axes[0].get_title().endswith(title)
    assert drawn[0].axes[0].get_images()[0].get_interpolation() == "nearest"
    image = tmp_path / "x.png"
    Image.new("L", (8, 8)).save(image)
    message = call("trajectory", tmp_path / "run", image, "--out", tmp_path / "b.png", code=2).stderr
    assert "draws images from noise; give none" in message


def test_a_restoration_run_takes_a_file_or_its_first_evaluation_image_and_the_middle_of_it(tmp_path, drawn):
    photos = {"name": "photos", "images": ["chelsea"]}
    task = {"name": "paired", "train": photos, "eval": photos, "degradation": "noise"}
    trainer = trainer_of(task=task, sampler={"name": "sm-res-n", "steps": 2})
    trainer.save(tmp_path / "run")
    base = ["trajectory", tmp_path / "run", "--device", "cpu", "--size", "24x16", "--out", tmp_path / "a.png"]
    call(*base)
    assert pictures(drawn[0], 3)[0][0].shape == (24, 16, 3)
    array = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "grey.png")
    call(*base, tmp_path / "grey.png", "--sampler", "sm-res", "--steps", 1, "--set", "schedule.beta_T2=0")
    middle = array[3:27, 2:18, None].repeat(3, axis=2)
    assert np.array_equal(pictures(drawn[1], 2)[0][0], middle)  # without noise I_T is the input
    stderr = call(*base, tmp_path / "grey.png", "--size", 31, code=2).stderr
    assert "--size: must fit into the image, 30x20; given 31x31" in stderr


def test_a_route_can_be_followed(tmp_path, drawn):
    trainer = trainer_of(sampler={"name": "sm-res-n", "clock": "path", "route": "residual-first", "steps": 4})
    trajectory.draw(trainer, torch.zeros(1, 3, 8, 8), tmp_path / "a.png", generator=torch.Generator(), columns=9)
    assert len(drawn[0].axes) == 4 * 5
    path, times = itinerary(trainer)
    for axis, t in zip(drawn[0].axes, times):
        assert axis.get_title().endswith(rf"$\bar\alpha$ = {path.B[t]:.2f}, $\bar\beta$ = {path.C[t]:.2f}")


def test_at_least_both_ends_are_shown(tmp_path):
    with pytest.raises(SpecError, match="at least 2, T and 0; given 1"):
        trajectory.draw(
            trainer_of(), torch.zeros(1, 3, 8, 8), tmp_path / "a.png", generator=torch.Generator(), columns=1
        )


# ------------------------------------------------------------------------------------------------- files
def test_a_figure_that_fails_leaves_what_was_there(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), figure(file, 1, 1):
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert file.read_text() == "old"


def test_global_settings_of_matplotlib_stay_as_they_were(tmp_path):
    before = dict(rcParams)
    schedule.draw({"power": Power(T=4).path()}, tmp_path / "a.png")
    assert dict(rcParams) == before


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RddmError, match=r"pip install 'residual-diffusion\[plot\]'"):
        schedule.draw({"power": Power(T=4).path()}, tmp_path / "a.png")
    assert "residual-diffusion[plot]" in call("schedule", "power", "--out", tmp_path / "a.png", code=2).stderr


@pytest.mark.parametrize("suffix", [".jpg", "", ".PNGX"])
def test_files_of_another_kind_are_refused_with_the_kinds_allowed(suffix, tmp_path):
    with pytest.raises(OutputError, match=r"\.png \.svg \.pdf; given 'a"):
        schedule.draw({"power": Power(T=4).path()}, tmp_path / f"a{suffix}")
