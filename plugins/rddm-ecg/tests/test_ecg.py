"""Sources, noise and metrics of ECG: contracts, golden numbers and properties."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sleepecg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rddm_ecg.degradations._kinds import KINDS
from rddm_ecg.degradations.noise import EcgNoise
from rddm_ecg.degradations.recorded import RecordedNoise
from rddm_ecg.metrics.cosine import Cosine
from rddm_ecg.metrics.mad import MAD
from rddm_ecg.metrics.prd import PRD
from rddm_ecg.metrics.rmse import RMSE
from rddm_ecg.metrics.snr_improvement import SNRImprovement
from rddm_ecg.metrics.ssd import SSD
from rddm_ecg.sources.ecg import Ecg
from rddm_ecg.sources.wfdb import Wfdb
from rddm_ecg.units import to_mv, to_unit
from rddm_ecg.wfdb_files import write
from scipy.signal import welch

from rddm.plugin import DataError, ShapeError, SpecError
from rddm.testing import check

METRICS = (RMSE(), PRD(), SSD(), MAD(), Cosine(), SNRImprovement())
every_kind = pytest.mark.parametrize("kind", KINDS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def beats(seconds, rate, leads=1):
    """A train of narrow beats (N, leads) in mV, one a second."""
    t = np.arange(round(seconds * rate)) / rate
    one = np.exp(-(((t % 1 - 0.5) / 0.02) ** 2)) + 0.2 * np.exp(-(((t % 1 - 0.75) / 0.05) ** 2))
    return one[:, None] * np.linspace(1, -0.5, leads)


@pytest.fixture
def folder(tmp_path):
    """Two records: 30 s of two leads in mV at 250 Hz, and 20 s at 500 Hz in uV with a pressure beside."""
    write(tmp_path, "a", 250, beats(30, 250, 2), ["mV"] * 2, ["I", "II"])
    signals = np.concatenate([1000 * beats(20, 500), 80 + beats(20, 500)], axis=1)
    write(tmp_path, "b", 500, signals, ["uV", "mmHg"], ["II", "ABP"])
    return tmp_path


# ------------------------------------------------------------------------------------------------ contracts
@pytest.mark.parametrize("noise", [EcgNoise(), EcgNoise(kinds=("mains-50",), rate=128)], ids=["four", "one"])
def test_noise_keeps_the_contract_of_degradations(noise):
    check(noise, examples=5)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_keep_the_contract_of_their_kind(metric):
    extras = {"input": torch.rand(2, 500, generator=seeded(0))}
    check(metric, size=(500,), channels=2, extras=extras)


def test_sources_keep_the_contract_of_their_kind(folder):
    check(Ecg(window=5, stop=21, gains=(1, -0.5)))
    check(Wfdb(path=folder, window=4))


def test_recorded_noise_keeps_the_contract_of_degradations(folder):
    check(RecordedNoise(path=folder, records=("a", "b")), examples=5)


# -------------------------------------------------------------------------------------------------- sources
def test_the_toy_record_is_cut_in_time_without_overlap():
    mv, _ = sleepecg.get_toy_ecg()
    records = Ecg(start=100, stop=130, window=10, highpass=None).open()
    assert list(records.names) == ["0100.00s", "0110.00s", "0120.00s"]
    whole = np.concatenate([record["target"] for record in records])[:, 0]
    np.testing.assert_allclose(to_mv(whole, (-5, 5)), mv[36000:46800], atol=1e-5)


def test_training_and_evaluation_windows_share_no_sample():
    train, test = Ecg(stop=235).open(), Ecg(start=240).open()
    assert (len(train), len(test)) == (23, 6)
    assert train.starts[-1] + 3600 <= 235 * 360 < test.starts[0]


def test_gains_scale_windows_and_turn_them_upside_down():
    records = Ecg(stop=20, gains=(1, -0.5)).open()
    assert list(records.names) == ["0000.00s", "0000.00sx-0.5", "0010.00s", "0010.00sx-0.5"]
    one, other = (to_mv(record["target"].astype(float), (-5, 5)) for record in records[:2])
    np.testing.assert_allclose(other, -0.5 * one, atol=1e-6)


def test_the_high_pass_removes_wander_and_keeps_beats():
    t = np.arange(60 * 360) / 360
    cut = Ecg(highpass=0.5)
    slow, fast = (np.sin(2 * np.pi * hertz * t)[:, None] for hertz in (0.1, 5))
    middle = slice(10 * 360, 50 * 360)
    assert cut.prepared(slow, 360)[middle].std() < 0.003  # (0.1 / 0.5)^4 / sqrt 2, forwards and backwards
    assert cut.prepared(fast, 360)[middle].std() == pytest.approx(fast[middle].std(), rel=1e-3)


def test_records_of_any_rate_come_at_the_rate_asked_for(folder):
    source = Wfdb(path=folder, leads=("II",), rate=100, window=5, highpass=None)
    records = source.open()
    assert list(records.names)[:2] == ["a/II/00000.00s", "a/II/00005.00s"]
    assert len(records) == 6 + 4
    for index, gain in ((1, -0.5), (7, 1.0)):  # lead II of a at 250 Hz in mV, of b at 500 Hz in uV
        found = to_mv(records[index]["target"][:, 0].astype(float), (-5, 5))
        np.testing.assert_allclose(found, gain * beats(5, 100)[:, 0], atol=0.02)


def test_leads_are_examples_of_their_own_or_channels_of_one(folder):
    assert len(Wfdb(path=folder, records=("a",), window=10).open()) == 6
    joint = Wfdb(path=folder, records=("a",), leads=("II", "I"), window=10, joint=True, highpass=None, rate=250).open()
    assert len(joint) == 3
    signal = to_mv(joint[1]["target"].astype(float), (-5, 5))
    np.testing.assert_allclose(signal, beats(10, 250, 2)[:, ::-1], atol=1e-3)


def test_signals_that_are_no_voltage_are_passed_over(folder):
    assert {name.split("/")[1] for name in Wfdb(path=folder, window=4).open().names} == {"I", "II"}
    with pytest.raises(DataError, match=r"record b has no leads \['ABP'\] in mV, uV or V; it has \['II'\]"):
        Wfdb(path=folder, records=("b",), leads=("ABP",)).open()


def test_windows_with_missing_samples_and_beyond_the_limits_are_refused(tmp_path):
    signal = beats(30, 250)
    signal[2600:2700] = np.nan
    signal[6000] = 7
    write(tmp_path, "gap", 250, signal, ["mV"], ["I"])
    records = Wfdb(path=tmp_path, rate=250, highpass=None).open()
    assert records[0]["target"].shape == (2500, 1)
    with pytest.raises(DataError, match="samples are missing"):
        records[1]
    with pytest.raises(DataError, match=r"spans .* 7 mV; set wider limits than \(-5, 5\)"):
        records[2]


def test_windows_reach_workers_and_the_end_of_records_of_odd_rates(tmp_path):
    write(tmp_path, "odd", 257.3, beats(20, 257.3), ["mV"], ["I"])
    records = pickle.loads(pickle.dumps(Wfdb(path=tmp_path, window=4, rate=360).open()))
    assert [record["target"].shape for record in records] == [(1440, 1)] * len(records)
    assert len(records) >= 4


def test_sources_without_a_window_or_a_record_say_so(tmp_path, folder):
    with pytest.raises(DataError, match=r"start=295, stop=None, window=10 leave no window of the record's 300 seconds"):
        Ecg(start=295).open()
    with pytest.raises(DataError, match=r"no WFDB record \(\.hea\)"):
        Wfdb(path=tmp_path / "nothing").open()
    with pytest.raises(DataError, match=r"no window of 60 s in 2 WFDB records"):
        Wfdb(path=folder, window=60).open()
    with pytest.raises(DataError, match=r"has no records \['c'\]; it has \['a', 'b'\]"):
        Wfdb(path=folder, records=("c",)).open()
    (folder / "c.hea").write_text("no header\n")
    with pytest.raises(DataError, match=r"c\.hea"):
        Wfdb(path=folder).open()
    with pytest.raises(SpecError, match=r"must be \(low, high\) in mV"):
        Ecg(limits=(1, -1))


# ---------------------------------------------------------------------------------------------------- noise
@every_kind
@settings(deadline=None, max_examples=30)
@given(st.floats(-10, 20), st.integers(0, 2**32 - 1))
def test_the_signal_to_noise_ratio_is_the_one_stated(kind, snr, seed):
    clean = torch.from_numpy(to_unit(beats(4, 360, 2), (-50, 50))).T.float()
    noise = EcgNoise(kinds=(kind,), snr=(snr, snr))(clean, seeded(seed)).double() - clean
    found = 10 * torch.log10(clean.double().var(-1, correction=0) / noise.square().mean(-1))
    torch.testing.assert_close(found, torch.full((2,), snr, dtype=torch.float64), atol=0.01, rtol=0)


def test_a_range_of_ratios_is_drawn_from_evenly():
    clean = torch.from_numpy(to_unit(beats(2, 360), (-50, 50))).T.float()
    found = []
    for seed in range(300):
        noise = EcgNoise(snr=(0, 10))(clean, seeded(seed)).double() - clean
        found.append(float(10 * torch.log10(clean.double().var(correction=0) / noise.square().mean())))
    assert min(found) > -0.01
    assert max(found) < 10.01
    assert np.mean(found) == pytest.approx(5, abs=0.5)
    assert np.std(found) == pytest.approx(10 / 12**0.5, abs=0.3)


#: The band that holds most of a kind's power, in Hz, and the least share of it there.
BANDS = {
    "baseline-wander": (0, 0.7, 0.95),
    "electrode-motion": (0, 15, 0.95),
    "muscle": (20, 180, 0.9),
    "mains-50": (49, 51, 0.85),
    "mains-60": (59, 61, 0.85),
}


@every_kind
def test_noise_is_where_its_kind_is_in_the_spectrum(kind):
    noise = KINDS[kind]((20, 60 * 360), 360, seeded(0)).numpy()
    f, power = welch(noise - noise.mean(-1, keepdims=True), 360, nperseg=20 * 360)
    low, high, least = BANDS[kind]
    shares = power[:, (f >= low) & (f <= high)].sum(-1) / power.sum(-1)
    assert shares.mean() > least


@pytest.mark.parametrize(
    ("kind", "golden"),
    [
        ("baseline-wander", [2.30205, -4.52579]),
        ("electrode-motion", [-0.00393708, 0.450759]),
        ("muscle", [-2.14684e-05, -6.95124e-06]),
        ("mains-50", [-1.04109, 0.822633]),
        ("mains-60", [-0.0340382, 0.610009]),
    ],
)
def test_noise_of_a_seed_stays_what_it_is(kind, golden):
    noise = KINDS[kind]((1, 720), 360, seeded(7))[0]
    torch.testing.assert_close(noise[[100, 500]], torch.tensor(golden, dtype=torch.float64), atol=0, rtol=1e-4)


def test_muscle_noise_has_the_spectrum_of_the_electromyogram():
    noise = KINDS["muscle"]((200, 3600), 360, seeded(0)).numpy()
    f, power = welch(noise, 360, nperseg=360)
    mean = power.mean(0)
    want = f**2 / ((f**2 + 60**2) * (f**2 + 120**2) ** 2)
    at = np.array([20, 40, 80, 120, 160])
    np.testing.assert_allclose(mean[at] / mean[60], want[at] / want[60], rtol=0.15)


def test_overtones_beyond_half_the_rate_are_not_folded_back():
    noise = KINDS["mains-60"]((1, 20 * 128), 128, seeded(0)).numpy()
    f, power = welch(noise[0], 128, nperseg=5 * 128)
    assert power[(f > 58) & (f < 62)].sum() / power.sum() > 0.99


def test_several_kinds_share_the_power_in_all_proportions():
    clean = torch.from_numpy(to_unit(beats(10, 360), (-50, 50))).T.float()
    shares = []
    for seed in range(60):
        noise = (EcgNoise(kinds=("mains-60", "baseline-wander"))(clean, seeded(seed)).double() - clean).numpy()
        f, power = welch(noise[0], 360, nperseg=3600)
        shares.append(power[f > 10].sum() / power.sum())
    assert min(shares) < 0.15
    assert max(shares) > 0.85
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_a_flat_signal_gets_no_noise():
    flat = torch.full((2, 400), 0.3)
    torch.testing.assert_close(EcgNoise()(flat, seeded(0)), flat)


def test_recorded_noise_is_the_record_scaled(tmp_path):
    rng = np.random.default_rng(0)
    record = rng.normal(0, 1, (4000, 1))
    write(tmp_path, "bw", 360, record, ["mV"], ["noise"])
    noise = RecordedNoise(path=tmp_path, records=("bw",), part=(0.5, 1), snr=(3, 3))
    clean = torch.from_numpy(to_unit(beats(2, 360), (-50, 50))).T.float()
    found = (noise(clean, seeded(1)).double() - clean)[0].numpy()
    like = [np.corrcoef(found, record[n : n + 720, 0])[0, 1] for n in range(4000 - 720 + 1)]
    assert max(like) > 0.999
    assert np.argmax(like) >= 2000
    snr = 10 * np.log10(float(clean.double().var(correction=0)) / np.mean(found**2))
    assert snr == pytest.approx(3, abs=0.01)
    with pytest.raises(DataError, match=r"noise record bw .* has 5\.6 s in part \(0\.5, 1\.0\); 10\.0 s needed"):
        noise(torch.rand(1, 3600), seeded(0))
    with pytest.raises(DataError, match="em"):
        RecordedNoise(path=tmp_path)(clean, seeded(0))


def test_noise_refuses_what_makes_no_sense():
    with pytest.raises(SpecError, match="name each kind once"):
        EcgNoise(kinds=("muscle", "muscle"))
    with pytest.raises(SpecError, match=r"-60 <= low <= high <= 60"):
        EcgNoise(snr=(5, 0))
    with pytest.raises(SpecError, match=r"0 <= begin < end <= 1"):
        RecordedNoise(path="x", part=(0.5, 0.5))


# -------------------------------------------------------------------------------------------------- metrics
X, Y = [0.0, 2.0, 0.0, -2.0], [0.0, 1.0, 1.0, -2.0]  # mV
GOLDEN = {
    "rmse": 0.5**0.5,
    "prd": 100 * (2 / 8) ** 0.5,
    "ssd": 2.0,
    "mad": 1.0,
    "cosine": 6 / (8 * 6) ** 0.5,
    "snr": 10 * np.log10(8 / 2),
    "snr_improvement": 10 * np.log10(8 / 2),
}


def test_figures_are_those_of_the_formulas_in_millivolts():
    x, y = (to_unit(torch.tensor([mv], dtype=torch.float64), (-5, 5)) for mv in (X, Y))
    extras = {"input": to_unit(torch.tensor([[2.0, 2.0, 2.0, -4.0]], dtype=torch.float64), (-5, 5))}
    found = {key: value for metric in METRICS for key, value in metric.measure(y, x, extras).items()}
    golden = GOLDEN | {"snr_improvement": 10 * np.log10(12 / 2)}
    assert found == pytest.approx(golden, rel=1e-9)


def test_figures_are_means_over_leads():
    x, y = torch.rand(2, 3, 100, generator=seeded(0), dtype=torch.float64)
    z = torch.rand(3, 100, generator=seeded(1), dtype=torch.float64)
    for metric in METRICS:
        whole = metric.measure(y, x, {"input": z})
        leads = [metric.measure(y[n : n + 1], x[n : n + 1], {"input": z[n : n + 1]}) for n in range(3)]
        assert whole == pytest.approx({key: np.mean([lead[key] for lead in leads]) for key in whole})


def test_a_flat_lead_has_an_improvement_though_its_snr_is_none():
    clean, noise = torch.zeros(1, 50), torch.rand(1, 50, generator=seeded(0))
    found = SNRImprovement().measure(clean + 0.1 * noise, clean, {"input": clean + noise})
    assert found["snr_improvement"] == pytest.approx(20, abs=1e-5)
    assert found["snr"] == -np.inf


def test_an_exact_output_of_an_exact_input_is_no_improvement():
    x = torch.rand(2, 50, generator=seeded(0))
    noisy = torch.stack([x[0], x[1] + 0.1])
    found = SNRImprovement().measure(torch.stack([x[0], x[1] + 0.01]), x, {"input": noisy})
    assert found["snr_improvement"] == pytest.approx(10, abs=1e-3)


@pytest.mark.parametrize(("kind", "rate"), [("mains-60", 100), ("mains-60", 120), ("mains-50", 100)])
def test_mains_that_the_rate_cannot_hold_are_refused(kind, rate):
    with pytest.raises(ValueError, match=rf"{kind} needs a rate above {2 * int(kind[-2:])}"):
        EcgNoise(kinds=(kind,), rate=rate)


def test_gains_that_are_equal_are_refused_for_their_examples_would_have_one_name():
    with pytest.raises(ValueError, match="must differ"):
        Ecg(gains=(1, 0.5, 1))


def test_the_input_improves_on_itself_by_nothing():
    x, y = torch.rand(2, 1, 50, generator=seeded(0))
    assert SNRImprovement().measure(y, x, {"input": y})["snr_improvement"] == 0
    assert set(SNRImprovement().measure(y, x, {})) == {"snr"}


def test_signals_of_different_length_are_not_compared():
    with pytest.raises(ShapeError, match=r"one shape; given \(1, 5\), \(1, 6\)"):
        RMSE().measure(torch.rand(1, 5), torch.rand(1, 6), {})
