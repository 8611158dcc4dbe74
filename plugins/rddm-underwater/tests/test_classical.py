import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rddm_underwater.classical import enhanced, main
from rddm_underwater.water import Water
from skimage import data


def test_a_cast_goes_and_contrast_comes_back() -> None:
    clean = torch.from_numpy(data.astronaut()[:200:2, :200:2].copy()).permute(2, 0, 1) / 255
    murky = Water(types=("III",), depth=(5, 5), near=(3, 3), far=(6, 6))(clean, torch.Generator().manual_seed(0))
    found = enhanced(murky)
    cast = [image.mean((1, 2)).std().item() for image in (murky, found)]
    contrast = [image.mean(0).std().item() for image in (murky, found)]
    assert cast[1] < cast[0] / 2
    assert contrast[1] > contrast[0] * 1.5


def test_a_folder_is_enhanced_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 40, 3), dtype=np.uint8))
    picture.save(tmp_path / "in" / "deep" / "fish.jpg")
    monkeypatch.setattr(sys, "argv", ["classical", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    main()
    with Image.open(tmp_path / "out" / "deep" / "fish.png") as found:
        assert found.size == picture.size
    made = (tmp_path / "out" / "deep" / "fish.png").read_bytes()
    for problem in ("is there already, and not replaced", "have the same name"):
        with pytest.raises(SystemExit):
            main()
        assert problem in capsys.readouterr().err
        picture.save(tmp_path / "in" / "deep" / "fish.bmp")
    assert (tmp_path / "out" / "deep" / "fish.png").read_bytes() == made
