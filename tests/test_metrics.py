"""Metrics of single images and of sets, against scikit-image, torchmetrics and their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rddm import DataError, ShapeError, SpecError
from rddm.core import metrics, registry
from rddm.core.kinds import ImageMetric, Metric, SetMetric, Task, usual_metrics
from rddm.core.kinds.metric import RESERVED, check_metrics
from rddm.core.metrics import Seen, chosen, look, summary
from rddm.core.named import resolve
from rddm.metrics.lab_mae import LabMAE
from rddm.metrics.lpips import FILES, LPIPS, SMALLEST
from rddm.metrics.mae import MAE
from rddm.metrics.ms_ssim import MSSSIM, POWERS
from rddm.metrics.psnr import PSNR
from rddm.metrics.region_psnr import RegionPSNR
from rddm.metrics.region_ssim import RegionSSIM
from rddm.metrics.ssim import SSIM


def measure(output, target):
    return metrics.measure(usual_metrics(), output, target)


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float() / 255


def noisy_astronaut():
    clean = data.astronaut()
    noise = np.random.default_rng(0).normal(0, 25.5, clean.shape)
    return clean, (clean + noise).clip(0, 255).round().astype(np.uint8)


def ssim_by_definition(a, b):
    """Wang et al. 2004, eq. 13, with scipy's filters: 11 taps, sigma 1.5, only where the window fits."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(x):
        return correlate1d(correlate1d(x, taps, 0), taps, 1)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    a, b = a.astype(float), b.astype(float)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    return ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()


def test_the_numbers_are_those_of_scikit_image_and_of_the_definition():
    clean, noisy = noisy_astronaut()
    scores = measure(tensor(noisy), tensor(clean))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(clean, noisy), abs=1e-9)
    gaussian = structural_similarity(
        clean, noisy, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores["ssim"] == pytest.approx(gaussian, abs=1e-9)
    assert scores["ssim"] == pytest.approx(
        np.mean([ssim_by_definition(clean[..., c], noisy[..., c]) for c in range(3)]), abs=1e-6
    )


def test_golden_numbers_of_one_noisy_photograph():
    clean, noisy = noisy_astronaut()
    scores = measure(tensor(noisy), tensor(clean))
    golden = {"psnr": 20.7001, "ssim": 0.3297, "psnr_y": 25.3394, "ssim_y": 0.5176}
    assert scores == pytest.approx(golden, abs=1e-4)


def test_luma_is_bt_601_in_16_to_235():
    clean, noisy = noisy_astronaut()
    weights = np.array([65.481, 128.553, 24.966])
    luma = [16 + (image / 255) @ weights for image in (clean, noisy)]
    scores = measure(tensor(noisy), tensor(clean))
    assert scores["psnr_y"] == pytest.approx(10 * math.log10(255**2 / np.mean((luma[0] - luma[1]) ** 2)), abs=1e-6)
    assert scores["ssim_y"] == pytest.approx(ssim_by_definition(*luma), abs=1e-6)


@given(st.integers(1, 255))
def test_psnr_of_a_constant_difference_is_its_logarithm(step):
    black, grey = torch.zeros(1, 12, 12), torch.full((1, 12, 12), step / 255)
    assert measure(grey, black)["psnr"] == pytest.approx(20 * math.log10(255 / step), abs=1e-9)


def test_equal_images_have_infinite_psnr_and_ssim_1_and_grey_images_no_luma():
    image = torch.rand(1, 16, 16)
    assert measure(image, image) == {"psnr": math.inf, "ssim": 1.0}


def test_images_are_rounded_to_8_bits_first():
    image = torch.rand(3, 16, 16)
    rounded = (image * 255).round() / 255
    assert measure(image, rounded)["psnr"] == math.inf


def test_images_smaller_than_the_window_have_no_ssim_and_other_shapes_are_refused():
    assert math.isnan(measure(torch.rand(1, 10, 30), torch.rand(1, 10, 30))["ssim"])
    with pytest.raises(ShapeError, match=r"\(3, 16, 16\) and \(3, 16, 17\)|given"):
        measure(torch.rand(3, 16, 16), torch.rand(3, 16, 17))


# ------------------------------------------------------------------------------------------- every metric
BUILT_IN = [entry.name for entry in registry.entries("metric") if entry.distribution == "residual-diffusion"]
MEASURED = [name for name in BUILT_IN if name != "is"]  # which has no targets, and needs Inception
SIZE = 176  # what the coarsest scale of ms-ssim needs


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Files of networks with random weights, in the formats of the published ones."""
    timm, torchvision = pytest.importorskip("timm"), pytest.importorskip("torchvision")
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / FILES["squeeze"])
        torch.save(timm.create_model("test_resnet").state_dict(), folder / "test_resnet.pth")
    return folder


def made(name, files):
    """The metric with its defaults, but for small networks of random weights."""
    pytest.importorskip("torchmetrics") if name in ("lpips", "fid", "kid", "is") else None
    more = {
        "lpips": {"net": "squeeze", "file": files / FILES["squeeze"]},
        "fid": {"network": "test_resnet", "file": files / "test_resnet.pth"},
        "kid": {"network": "test_resnet", "file": files / "test_resnet.pth"},
    }
    return resolve(Metric, {"name": name, **more.get(name, {})})


def images(count, *shape, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", MEASURED)
def test_equal_images_have_the_best_value_and_other_images_a_worse_one(name, files):
    metric = made(name, files)
    metric.prepare()
    output, target = images(2, 3, SIZE, SIZE)
    if isinstance(metric, ImageMetric):
        extras = {"mask": (images(1, SIZE, SIZE, seed=1) > 0.3).float()}
        best, worse = (metric.measure(one, target, extras) for one in (target, output))
        assert set(best) == set(worse) == set(metric.keys)
    else:
        best, worse = (metrics.compare([metric], images(4, 3, 32, 32, seed=n), images(4, 3, 32, 32)) for n in (0, 1))
    for key in metric.keys:
        extreme = math.inf if "psnr" in key else 1.0 if "ssim" in key else 0.0
        assert best[key] == pytest.approx(extreme, abs=1e-6) or (key.startswith("kd_") and best[key] < 0)  # unbiased
        assert (best[key] > worse[key]) == (metric.better == "higher")


@pytest.mark.parametrize("name", MEASURED)
def test_the_same_images_have_the_same_value_and_no_global_number_is_drawn(name, files):
    metric, state = made(name, files), torch.get_rng_state()
    found = [
        summary(
            [metric], {"a": look([metric], *images(2, 3, 64, 64)), "b": look([metric], *images(2, 3, 64, 64, seed=1))}
        )
        for _ in range(2)
    ]
    np.testing.assert_equal(found[0], found[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", MEASURED)
def test_images_that_differ_in_shape_are_refused_and_signals_and_volumes_measured_or_left_out(name, files):
    metric = made(name, files)
    if isinstance(metric, SetMetric):
        with pytest.raises(ShapeError, match="given"):
            metrics.compare([metric], images(2, 3, 4, 4, 4), images(2, 3, 4, 4))
        return
    for shape in ((3, 16, 17), (3, 17, 16), (1, 16, 16)):
        with pytest.raises(ShapeError, match="given"):
            metric.measure(torch.zeros(3, 16, 16), torch.zeros(shape), {})
    for shape in ((2, 30), (1, 8, 9, 10)):
        found = metric.measure(*images(2, *shape), {})
        assert set(found) in (set(), set(metric.keys))
        assert all(math.isfinite(value) for value in found.values())


# ------------------------------------------------------------------------------------------- errors and scales
def test_signals_and_volumes_are_not_rounded_and_their_peak_is_1():
    for shape in ((2, 30), (1, 8, 9, 10)):
        one, other = images(2, *shape).double()
        error = one - other
        assert PSNR().measure(one, other, {})["psnr"] == pytest.approx(
            -10 * math.log10(error.square().mean()), rel=1e-9
        )
        assert MAE().measure(one, other, {})["mae"] == pytest.approx(error.abs().mean().item(), rel=1e-9)


def test_mae_is_in_steps_of_8_bits_of_rgb_or_of_luma():
    clean, noisy = noisy_astronaut()
    error = np.abs(clean.astype(float) - noisy)
    assert MAE().measure(tensor(noisy), tensor(clean), {})["mae"] == pytest.approx(error.mean(), rel=1e-12)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    luma = np.abs((clean.astype(float) - noisy) @ weights)
    assert MAE(space="y").measure(tensor(noisy), tensor(clean), {})["mae_y"] == pytest.approx(luma.mean(), rel=1e-6)


GOLDEN = {
    "mae": 18.0348,
    "ms_ssim": 0.8367,
    "lab_mae": 28.6751,
    "lab_mae_s": 29.5518,
    "lab_mae_ns": 28.5618,
    "lab_mae_published": 28.6751,
    "lab_mae_s_published": 29.5518,
    "lab_mae_ns_published": 28.5618,
    "psnr_s": 20.5284,
    "psnr_ns": 20.7228,
    "psnr_s_published": 29.9426,
    "psnr_ns_published": 21.2506,
    "ssim_s": 0.3468,
    "ssim_ns": 0.3274,
    "ssim_s_published": 0.9258,
    "ssim_ns_published": 0.4109,
}


def test_golden_numbers_of_the_other_metrics():
    clean, noisy = noisy_astronaut()
    mask = torch.zeros(1, 512, 512)
    mask[:, 100:300, 50:200] = 1
    names = ("mae", "ms-ssim", "lab-mae", "region-psnr", "region-ssim")
    found = {
        key: value
        for name in names
        for convention in ({}, *([{"convention": "published"}] if "lab" in name or "region" in name else []))
        for key, value in resolve(Metric, {"name": name, **convention})
        .measure(tensor(noisy), tensor(clean), {"mask": mask})
        .items()
    }
    assert found == pytest.approx(GOLDEN, abs=1e-4)


def test_ms_ssim_is_torchmetrics_but_for_the_border_of_the_coarsest_scale():
    functional = pytest.importorskip("torchmetrics.functional.image")
    clean, noisy = (tensor(image).mean(0, keepdim=True).mul(255).round().div(255) for image in noisy_astronaut())
    pair = [image[None].double() * 255 for image in (noisy, clean)]
    theirs = functional.multiscale_structural_similarity_index_measure(*pair, data_range=255.0).item()
    small = [torch.nn.functional.avg_pool2d(image, 16) for image in pair]
    padded = functional.structural_similarity_index_measure(*small, data_range=255.0).item()
    valid = ssim_by_definition(*(image[0, 0].numpy() for image in small))
    ours = MSSSIM().measure(noisy, clean, {})["ms_ssim"]
    assert ours == pytest.approx(theirs * (valid / padded) ** POWERS[-1], rel=1e-6)
    assert ours == pytest.approx(theirs, abs=0.01)


def test_images_on_which_the_coarsest_scale_has_no_window_have_no_ms_ssim():
    assert math.isnan(MSSSIM().measure(*images(2, 1, SIZE - 1, 300), {})["ms_ssim"])
    assert 0 <= MSSSIM().measure(*images(2, 1, SIZE, 300), {})["ms_ssim"] < 0.1


# ------------------------------------------------------------------------------------------- regions
def masked(seed, share=0.4):
    """Two images and a mask of about that share."""
    output, target = images(2, 3, 24, 28, seed=seed)
    return output, target, (images(1, 24, 28, seed=seed + 1) < share).float()


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_regions_weighted_by_their_pixels_make_the_whole(seed, share):
    output, target, mask = masked(seed, share)
    part = mask.double().mean().item()
    lab = LabMAE().measure(output, target, {"mask": mask})
    assert part * lab["lab_mae_s"] + (1 - part) * lab["lab_mae_ns"] == pytest.approx(lab["lab_mae"], rel=1e-9)
    whole, regions = PSNR().measure(output, target, {}), RegionPSNR().measure(output, target, {"mask": mask})
    error = {key: 10 ** (-value / 10) for key, value in (whole | regions).items()}
    assert part * error["psnr_s"] + (1 - part) * error["psnr_ns"] == pytest.approx(error["psnr"], rel=1e-9)
    inner = mask[..., 5:-5, 5:-5].double().mean().item()
    found = SSIM().measure(output, target, {}) | RegionSSIM().measure(output, target, {"mask": mask})
    sides = [weight * found[key] for key, weight in (("ssim_s", inner), ("ssim_ns", 1 - inner)) if weight]
    assert sum(sides) == pytest.approx(found["ssim"], rel=1e-9)


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_published_psnr_of_a_region_is_higher_by_minus_10_log10_of_its_share(seed, share):
    output, target, mask = masked(seed, share)
    correct = RegionPSNR().measure(output, target, {"mask": mask})
    published = RegionPSNR(convention="published").measure(output, target, {"mask": mask})
    for region, part in (("s", mask.mean().item()), ("ns", 1 - mask.mean().item())):
        higher = published[f"psnr_{region}_published"] - correct[f"psnr_{region}"]
        assert higher == pytest.approx(-10 * math.log10(part), rel=1e-5)


def test_published_regions_are_scikit_image_s_numbers_of_images_that_are_black_elsewhere():
    output, target, mask = masked(0)
    black = [(image * mask).mul(255).round().byte().permute(1, 2, 0).numpy() for image in (output, target)]
    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = {
        **RegionPSNR(convention="published").measure(output, target, {"mask": mask}),
        **RegionSSIM(convention="published").measure(output, target, {"mask": mask}),
    }
    assert found["psnr_s_published"] == pytest.approx(peak_signal_noise_ratio(*black[::-1]), rel=1e-9)
    assert found["ssim_s_published"] == pytest.approx(structural_similarity(*black[::-1], **options), rel=1e-9)


def test_lab_error_of_a_grey_step_is_that_of_lightness_alone():
    dark, light = (torch.full((3, 4, 4), value / 255) for value in (0, 119))  # 119 is L* = 50.03 in sRGB
    assert LabMAE().measure(light, dark, {})["lab_mae"] == pytest.approx(50.03, abs=0.02)


def test_published_lab_errors_are_pooled_over_the_pixels_of_the_set_and_correct_ones_over_images():
    small, large = torch.zeros(1, 4, 4), torch.ones(1, 8, 8)
    small[:, :1] = 1  # 4 pixels in shadow, and 64
    pairs = {"a": (images(2, 3, 4, 4), small), "b": (images(2, 3, 8, 8), large)}
    both = [LabMAE(), LabMAE(convention="published")]
    seen = {name: look(both, *pair, extras={"mask": mask}) for name, (pair, mask) in pairs.items()}
    a, b = (seen[name].scores["lab_mae_s"] for name in seen)
    found = summary(both, seen)
    assert found["lab_mae_s"] == pytest.approx((a + b) / 2)
    assert found["lab_mae_s_published"] == pytest.approx((4 * a + 64 * b) / 68)
    assert found["lab_mae_published"] == pytest.approx(
        (16 * seen["a"].scores["lab_mae"] + 64 * seen["b"].scores["lab_mae"]) / 80
    )
    assert found["lab_mae_ns"] == found["lab_mae_ns_published"] == seen["a"].scores["lab_mae_ns"]
    assert found["undefined"] == {"lab_mae_ns": 1, "lab_mae_ns_published": 1}


def test_without_a_mask_there_are_no_regions_and_a_mask_of_another_size_is_refused():
    output, target, _ = masked(0)
    assert set(LabMAE().measure(output, target, {})) == {"lab_mae"}
    assert all(math.isnan(value) for value in RegionPSNR().measure(output, target, {}).values())
    assert all(math.isnan(value) for value in RegionSSIM().measure(output, target, {}).values())
    for metric in (LabMAE(), RegionPSNR(), RegionSSIM()):
        with pytest.raises(ShapeError, match=r"must be \(1, 24, 28\); given \(1, 24, 29\)"):
            metric.measure(output, target, {"mask": torch.ones(1, 24, 29)})


# ------------------------------------------------------------------------------------------- networks
def test_lpips_is_torchmetrics_with_the_weights_where_torch_keeps_them(files, tmp_path, monkeypatch):
    theirs = pytest.importorskip("torchmetrics.functional.image").learned_perceptual_image_patch_similarity
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    (tmp_path / "hub/checkpoints" / FILES["squeeze"]).symlink_to(files / FILES["squeeze"])
    output, target = (images(2, 3, 48, 40) * 255).round() / 255
    want = theirs(output[None], target[None], net_type="squeeze", normalize=True).item()
    assert want > 1e-3
    for file in (None, files / FILES["squeeze"]):
        assert LPIPS(net="squeeze", file=file).measure(output, target, {})["lpips_squeeze"] == pytest.approx(
            want, rel=1e-5
        )
    grey = output[:1]
    repeated = LPIPS(net="squeeze").measure(grey.expand(3, -1, -1), target, {})
    assert LPIPS(net="squeeze").measure(grey, target[:1], {}) != repeated
    assert LPIPS(net="squeeze").measure(grey, grey, {}) == {"lpips_squeeze": 0.0}


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_the_files_of_lpips_are_torchvision_s_and_its_networks_take_images_from_the_smallest_size_on(net):
    models = pytest.importorskip("torchvision.models")
    internal = pytest.importorskip("torchmetrics.functional.image.lpips")
    names = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
    assert getattr(models, names[net]).IMAGENET1K_V1.url.endswith(f"/{FILES[net]}")
    network, side = internal._LPIPS(net=net, pnet_rand=True), SMALLEST[net]
    assert network(*torch.zeros(2, 1, 3, side, side)).item() == 0
    with pytest.raises(RuntimeError):
        network(*torch.zeros(2, 1, 3, side - 1, side - 1))
    assert math.isnan(LPIPS(net=net).measure(*torch.zeros(2, 3, side - 1, 99), {})[LPIPS(net=net).keys[0]])


@pytest.mark.parametrize("name", ["lpips", "fid", "kid", "is"])
def test_without_weights_the_file_and_its_place_are_named_and_nothing_is_fetched(name, tmp_path, monkeypatch):
    def fetch(*_, **__):
        raise AssertionError("a download was tried")

    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fetch)
    metric = resolve(Metric, name)
    file = FILES["alex"] if name == "lpips" else "weights-inception-2015-12-05-6726825d.pth"
    with pytest.raises(DataError, match="nothing is downloaded") as raised:
        metric.prepare()
    assert str(tmp_path / "hub/checkpoints" / file) in str(raised.value)
    assert f"{{name: {name}, file: FILE}}" in str(raised.value)
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"bad\.pth holds no weights"):
        resolve(Metric, {"name": name, "file": tmp_path / "bad.pth"}).prepare()
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"other\.pth holds other weights than"):
        resolve(Metric, {"name": name, "file": tmp_path / "other.pth"}).prepare()


def test_distances_in_another_network_are_not_called_fid_and_an_unknown_network_is_refused(files):
    pytest.importorskip("torchmetrics")
    fid, kid = made("fid", files), made("kid", files)
    assert (fid.keys, kid.keys) == (("fd_test_resnet",), ("kd_test_resnet",))
    found = metrics.compare([fid, kid], images(5, 1, 40, 40), images(7, 3, 40, 40, seed=1))
    assert found["fd_test_resnet"] > 0
    assert math.isnan(metrics.compare([fid], images(1, 3, 40, 40), images(7, 3, 40, 40))["fd_test_resnet"])
    with pytest.raises(SpecError, match="list_models"):
        resolve(Metric, {"name": "fid", "network": "no-such"}).prepare()
    with pytest.raises(ShapeError, match="grey and RGB"):
        fid.features(torch.zeros(4, 8, 8))


def test_the_frechet_distance_of_features_is_that_of_the_gaussians_with_their_moments():
    pytest.importorskip("torchmetrics")
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    sets = [rng.normal(shift, scale, (50, 6)) for shift, scale in ((0, 1), (0.5, 2))]
    (m1, s1), (m2, s2) = [(x.mean(0), np.cov(x.T)) for x in sets]
    want = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    found = resolve(Metric, "fid").compare(*[[torch.from_numpy(row) for row in x] for x in sets])
    assert found["fid"] == pytest.approx(want, rel=1e-9)


def test_the_kernel_distance_of_features_is_the_unbiased_discrepancy():
    pytest.importorskip("torchmetrics")
    x, y = images(2, 12, 5).double()
    kernel = [(a @ b.T / 5 + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    own = sum((k.sum() - k.trace()) / (12 * 11) for k in kernel[:2])
    want = (own - 2 * kernel[2].mean()).item()
    assert resolve(Metric, "kid").compare(list(x), list(y)) == {"kid": pytest.approx(want, rel=1e-9)}
    some = resolve(Metric, {"name": "kid", "subset_size": 8, "subsets": 400}).compare(list(x), list(y))
    assert some == {"kid": pytest.approx(want, abs=0.02)}


def test_the_inception_score_counts_classes_that_are_sure_and_equally_many():
    pytest.importorskip("torchmetrics")
    logits = 100 * torch.eye(8).repeat_interleave(5, 0)
    found = resolve(Metric, {"name": "is", "splits": 1}).compare(list(logits), list(logits))
    assert found["is"] == pytest.approx(8, rel=1e-6)


@pytest.mark.slow
def test_fid_kid_and_is_are_torchmetrics_with_the_same_inception(tmp_path, monkeypatch):
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    image = pytest.importorskip("torchmetrics.image")
    own = extractor.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(own, "load_state_dict", lambda *_: None)
        state = own("inception-v3-compat", ["2048"]).state_dict()
    # so that signals neither fade nor grow through the layers
    state = {key: value * 6**0.5 if key.endswith("conv.weight") else value for key, value in state.items()}
    file = tmp_path / "inception.pth"
    torch.save(state, file)
    outputs, targets = images(6, 3, 32, 32), images(6, 3, 32, 32, seed=1) ** 3
    measured = chosen([{"name": name, "file": str(file)} for name in ("fid", "kid", "is")])
    found = metrics.compare(measured, outputs, targets)
    bytes_of = [(x * 255).round().byte() for x in (outputs, targets)]
    fid = image.FrechetInceptionDistance(feature_extractor_weights_path=str(file), antialias=False)
    for real, x in enumerate(bytes_of):
        fid.update(x, real=bool(real))
    assert found["fid"] == pytest.approx(fid.compute().item(), rel=1e-3)
    assert found["fid"] > 1e-3
    assert found["is"] >= 1


# ------------------------------------------------------------------------------------------- means
def seen_of(**columns):
    count = len(next(iter(columns.values())))
    return {str(n): Seen({key: values[n] for key, values in columns.items()}) for n in range(count)}


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30))
def test_the_mean_is_between_the_ends_of_its_interval_which_are_between_the_extremes(values):
    found = summary([], seen_of(psnr=values))
    assert found["psnr"] == pytest.approx(np.mean(values), abs=1e-9)
    if len(values) > 1:
        low, high = found["ci"]["psnr"]
        slack = 1e-9
        assert min(values) - slack <= low <= high <= max(values) + slack
        assert low - slack <= found["psnr"] <= high + slack or len(set(values)) < 4
    else:
        assert "ci" not in found


def test_the_interval_of_many_images_is_the_normal_one_and_always_the_same():
    values = np.random.default_rng(0).normal(30, 2, 400)
    low, high = summary([], seen_of(psnr=values.tolist()))["ci"]["psnr"]
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert (low, high) == summary([], seen_of(psnr=values.tolist()))["ci"]["psnr"]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        low, high = summary([], seen_of(a=rng.normal(0, 1, 30).tolist()))["ci"]["a"]
        hits += low <= 0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_images_without_a_value_are_left_out_of_its_mean_and_counted():
    found = summary([], seen_of(ssim=[0.5, math.nan, 0.7], psnr=[1.0, 2.0, math.inf]))
    assert found["ssim"] == pytest.approx(0.6)
    assert found["undefined"] == {"ssim": 1}
    assert found["psnr"] == math.inf
    assert set(found["ci"]) == {"ssim"}
    assert found["images"] == 3
    assert math.isnan(summary([], seen_of(ssim=[math.nan]))["ssim"])
    mixed = {"a": Seen({"psnr": 1.0, "psnr_y": 2.0}), "b": Seen({"psnr": 3.0})}  # a grey image among colours
    assert summary([], mixed)["psnr_y"] == 2
    assert summary([], mixed)["undefined"] == {"psnr_y": 1}
    with pytest.raises(DataError, match="no evaluation image"):
        summary([], {})


@pytest.mark.parametrize("key", [*RESERVED, "input_psnr"])
def test_figures_whose_keys_say_something_else_in_an_evaluation_are_refused(key):
    class Taken(PSNR):
        @property
        def keys(self):
            return (key,)

    with pytest.raises(SpecError, match=f"'psnr' gives '{key}', which is no figure's"):
        check_metrics([Taken()], targets=True)


def test_metrics_that_need_a_target_are_refused_where_none_is_known_and_figures_given_twice_too():
    task = {"train": "a", "eval": "b"}
    with pytest.raises(SpecError, match="psnr, mae compare an output with its target"):
        resolve(Task, {"name": "generation", **task, "metrics": ["psnr", "swd", "mae"]})
    with pytest.raises(SpecError, match="'psnr' and 'psnr' both give 'psnr'"):
        resolve(Task, {"name": "paired", **task, "metrics": ["psnr", {"name": "psnr"}]})
    with pytest.raises(SpecError, match="name at least one"):
        resolve(Task, {"name": "paired", **task, "metrics": []})
    both = resolve(
        Task, {"name": "paired", **task, "metrics": ["lab-mae", {"name": "lab-mae", "convention": "published"}]}
    )
    assert len(both.metrics) == 2
    with pytest.raises(SpecError, match="unknown metric 'psnrr'"):
        chosen("psnrr")
