"""Filters, comparison, plot and denoised records, with a model that is hardly trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rddm_ecg import filters
from rddm_ecg.cli import app
from rddm_ecg.compare import Window, compared, lead, means, scale, tuned
from rddm_ecg.denoise import denoise
from rddm_ecg.wfdb_files import header, samples, write
from ruamel.yaml import YAML
from typer.testing import CliRunner

import rddm
from rddm import DataError, OutputError, SpecError
from rddm.plugin import Path as Tables

RECIPE = Path(__file__).parents[1] / "recipes" / "quick.yaml"
RATE = 360
T = np.arange(10 * RATE) / RATE
MIDDLE = slice(3 * RATE, 7 * RATE)


def sine(hertz):
    return np.sin(2 * np.pi * hertz * T)[None]


def through(name, mv, **parameters):
    return filters.GRIDS[name][0](mv, RATE, **parameters)[0, MIDDLE]


PASSING = {
    "FIR": {"low": 0.5, "high": 40},
    "Butterworth": {"low": 0.5, "high": 40, "notch": 60},
    "wavelet": {"wavelet": "sym8", "cutoff": 0.7, "drop": 2, "factor": 0.0},
}
each_filter = pytest.mark.parametrize("name", filters.GRIDS)


# -------------------------------------------------------------------------------------------------- filters
@each_filter
def test_filters_pass_the_ecg_without_delay_and_stop_wander_and_mains(name):
    kept = through(name, sine(8), **PASSING[name])
    np.testing.assert_allclose(kept, sine(8)[0, MIDDLE], atol=0.05)
    for hertz in (0.1, 60):
        assert through(name, sine(hertz), **PASSING[name]).std() < 0.15 * sine(hertz)[0, MIDDLE].std()


@each_filter
def test_filters_are_linear_in_scale_and_work_lead_by_lead(name):
    mv = np.random.default_rng(0).normal(size=(2, 1000))
    apply, parameters = filters.GRIDS[name][0], PASSING[name]
    both = apply(mv, RATE, **parameters)
    assert both.shape == mv.shape
    np.testing.assert_allclose(apply(3 * mv[1:], RATE, **parameters), 3 * both[1:], atol=1e-9)


def test_wavelet_shrinkage_by_nothing_is_the_signal_without_its_coarsest_octaves():
    mv = np.random.default_rng(0).normal(size=(1, 999))
    parameters = {"wavelet": "db6", "drop": 0, "factor": 0.0}
    rest = mv - filters.wavelet(mv, RATE, cutoff=1.4, **parameters)
    assert np.abs(np.fft.rfft(rest[0]))[30:].max() < 0.1 * np.abs(np.fft.rfft(mv[0])).max()  # above 10 Hz


@each_filter
def test_tuning_takes_the_best_of_the_grid(name):
    rng = np.random.default_rng(0)
    clean = sine(7) + 0.5 * sine(13)
    pairs = [(clean + 0.5 * sine(60) + 0.2 * sine(0.2) + 0.1 * rng.normal(size=clean.shape), clean) for _ in range(2)]
    found, parameters = filters.tuned(name, pairs, RATE)

    def error(apply):
        return np.mean([np.log(np.mean((apply(noisy) - clean) ** 2)) for noisy, clean in pairs])

    best = error(found)
    assert all(parameters[key] in values for key, values in filters.GRIDS[name][1].items())
    for key, values in filters.GRIDS[name][1].items():
        for value in values:
            other = parameters | {key: value}
            assert error(lambda mv, other=other: filters.GRIDS[name][0](mv, RATE, **other)) >= best


# --------------------------------------------------------------------------------------------------- models
@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps, of the recipe made small."""
    out = tmp_path_factory.mktemp("runs") / "run"
    table = YAML(typ="safe", pure=True).load(RECIPE)
    table["backbone"] |= {"width": 4, "middle_blocks": 1}
    table["training"] |= {"steps": 2, "batch_size": 2, "crop": 256, "save_every": 2}
    table["task"]["train"] |= {"stop": 40, "gains": [1]}
    table["task"]["eval"] |= {"window": 5, "stop": 255}
    table["sampler"] |= {"steps": 2}
    rddm.build(table).fit(out, progress=False)
    return out


@pytest.fixture(scope="module")
def trainer(run):
    return rddm.load(run)


def test_the_recipe_is_eddm_s():
    trainer = rddm.build(RECIPE)
    path = trainer[Tables]
    assert path.T == 50
    t = torch.arange(1, 51)
    for table in (path.B, path.C**2 / path.C[-1] ** 2):  # rates fall linearly: 2 (T + 1 - t) / (T (T + 1))
        torch.testing.assert_close(table.diff(), 2 * (51 - t.double()) / (50 * 51))
    spec = trainer[rddm.Spec]
    assert (spec.sampler.name, spec.sampler.nets, spec.training.per_network) == ("sm-res-n", 2, True)


def test_evaluation_measures_everything_in_millivolts(trainer):
    scores = trainer.evaluate(limit=2)
    keys = {"snr_improvement", "snr", "rmse", "prd", "ssd", "mad", "cosine"}
    assert keys | {f"input_{key}" for key in keys} <= set(scores)
    assert scores["input_snr_improvement"] == 0
    assert 0 <= scores["input_snr"] <= 10
    assert 0.05 < scores["input_rmse"] < 1


def test_methods_are_compared_on_the_same_noise(trainer):
    methods = {"nothing": lambda mv: mv}
    windows = list(compared(trainer, methods, limit=2))
    again = list(compared(trainer, methods, limit=2))
    for one, other in zip(windows, again, strict=True):
        assert torch.equal(one.made["input"], other.made["input"])
        torch.testing.assert_close(one.made["nothing"], one.made["input"].double(), atol=1e-5, rtol=0)
    found = means(windows)
    assert list(found) == ["input", "nothing", "rddm"]
    assert found["nothing"]["snr_improvement"] == pytest.approx(0, abs=1e-3)
    assert found["rddm"]["rmse"] == pytest.approx(np.mean([one.figures["rddm"]["rmse"] for one in windows]))


def test_filters_are_tuned_on_training_windows_and_help(trainer):
    methods = tuned(trainer)
    assert set(methods) == set(filters.GRIDS)
    found = means(compared(trainer, {name: apply for name, (apply, _) in methods.items()}))
    assert all(found[name]["snr_improvement"] > 2 for name in ("FIR", "Butterworth"))


def test_a_source_without_millivolts_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 64), 0.5, np.float32))
    source = {"name": "arrays", "path": str(tmp_path / "a.npy"), "ndim": 1}
    task = {"name": "paired", "ndim": 1, "channels": 1, "train": source, "eval": source, "degradation": "ecg-noise"}
    with pytest.raises(SpecError, match=r"must be a source that knows mV and sampling rate, .* given 'arrays'"):
        scale(rddm.build({"task": task, "backbone": {"name": "nafnet", "ndim": 1, "width": 4}}))


# -------------------------------------------------------------------------------------------------- records
def identity(trainer, monkeypatch):
    monkeypatch.setattr(type(trainer), "restore", lambda self, image, **options: image)
    return trainer


@pytest.fixture
def record(tmp_path):
    """4 s at 250 Hz: two leads in mV and uV, some samples missing, and a pressure."""
    t = np.arange(1000) / 250
    first, second = np.sin(2 * np.pi * 3 * t), np.cos(2 * np.pi * 2 * t)
    first[100:110] = np.nan
    signals = np.stack([first, 1000 * second, 80 + first * 0 + t], axis=1)
    signals[:, 2] = 80 + t
    write(tmp_path, "r1", 250, signals, ["mV", "uV", "mmHg"], ["I", "II", "ABP"], comments=["age 50"])
    return tmp_path / "r1"


def test_a_record_comes_back_in_its_own_rate_units_and_length(trainer, record, tmp_path, monkeypatch):
    found = denoise(identity(trainer, monkeypatch), record.with_suffix(".hea"), tmp_path / "out")
    assert found == tmp_path / "out" / "r1.hea"
    before, after = header(record), header(found.with_suffix(""))
    for key in ("fs", "sig_len", "units", "sig_name"):
        assert getattr(before, key) == getattr(after, key)
    assert after.comments == ["age 50", "denoised by rddm-ecg"]
    old, new = samples(record), samples(found.with_suffix(""))
    assert np.array_equal(np.isnan(old), np.isnan(new))
    rest = np.r_[50:90, 130:950]  # away from ends and gap, which resampling blurs
    np.testing.assert_allclose(new[rest] / [1, 1000, 80], old[rest] / [1, 1000, 80], atol=5e-3)


def test_only_the_leads_named_are_denoised(trainer, record, tmp_path):
    out = denoise(trainer, record, tmp_path / "out", leads=("II",)).with_suffix("")
    old, new = samples(record), samples(out)
    np.testing.assert_allclose(new[:, [0, 2]], old[:, [0, 2]], atol=2e-3)
    assert np.abs(new[:, 1] - old[:, 1]).max() > 1


def test_a_lead_that_was_not_recorded_stays_empty(trainer, tmp_path):
    signals = np.stack([np.sin(np.arange(1000) / 20), np.full(1000, np.nan)], axis=1)
    write(tmp_path, "half", RATE, signals, ["mV"] * 2, ["I", "II"])
    new = samples(denoise(trainer, tmp_path / "half", tmp_path / "out").with_suffix(""))
    assert np.isnan(new).all(axis=0).tolist() == [False, True]


def test_records_are_never_overwritten(trainer, record):
    with pytest.raises(OutputError, match="is there already; choose another folder for --out"):
        denoise(trainer, record, record.parent)


def test_what_the_scale_does_not_hold_is_clipped_with_a_warning(trainer, tmp_path, monkeypatch):
    write(tmp_path, "big", RATE, np.linspace(-4, 8, 1000)[:, None], ["mV"], ["I"])
    with pytest.warns(UserWarning, match=r"25\.\d+% of samples are outside -5 \.\. 5 mV, and clipped"):
        found = denoise(identity(trainer, monkeypatch), tmp_path / "big", tmp_path / "out")
    assert samples(found.with_suffix("")).max() == pytest.approx(5, abs=0.01)


# ------------------------------------------------------------------------------------------------- commands
def test_the_commands_make_a_table_a_plot_and_a_record(run, record, tmp_path):
    numbers, picture = tmp_path / "table.json", tmp_path / "beats.png"
    commands = (
        ["table", str(run), "task.degradation.snr=[5,5]", "--limit", "2", "--json", str(numbers)],
        ["plot", str(run), "--out", str(picture), "--count", "2"],
        ["denoise", str(run), str(record), "--out", str(tmp_path / "out")],
    )
    for command in commands:
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert ("ahead in" in result.output) == (command[0] == "table")
    found = json.loads(numbers.read_text())
    assert found["windows"] == 2
    assert found["means"]["input"]["snr"] == pytest.approx(5, abs=0.01)
    assert set(found["means"]) == {"input", "rddm", *filters.GRIDS}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "r1.dat").stat().st_size == 2 * 3 * 1000


def test_the_lead_over_a_method_is_the_mean_difference_of_snr_with_its_interval():
    clean = torch.sin(torch.arange(200.0))[None]
    made = [{"rddm": clean + 0.01 * (n + 1), "FIR": clean + 0.1} for n in range(9)]
    windows = [Window(str(n), clean, one, {}) for n, one in enumerate(made)]
    gains = [20 * np.log10(0.1 / (0.01 * (n + 1))) for n in range(9)]
    found = lead(windows, "FIR")
    assert found.mean == pytest.approx(np.mean(gains), rel=1e-4)
    assert found.interval[0] < found.mean < found.interval[1]
    assert found.windows == 9
    assert lead(windows[:1], "FIR").interval is None
    assert lead([Window("a", clean, {"rddm": clean + 0.2, "FIR": clean + 0.1}, {})], "FIR").windows == 0


def test_a_model_of_all_leads_refuses_a_record_that_lacks_the_samples_of_one(tmp_path):
    signals = np.stack([np.sin(np.arange(1000) / 20), np.full(1000, np.nan)], axis=1)
    write(tmp_path, "half", RATE, signals, ["mV"] * 2, ["I", "II"])
    source = {"name": "ecg", "window": 1}
    task = {"name": "paired", "ndim": 1, "channels": 2, "train": source, "eval": source, "degradation": "ecg-noise"}
    both = rddm.build({"task": task, "backbone": {"name": "nafnet", "ndim": 1, "width": 4}, "training": {"crop": 64}})
    with pytest.raises(DataError, match="lead II holds no sample"):
        denoise(both, tmp_path / "half", tmp_path / "out")
    assert not (tmp_path / "out").exists()
