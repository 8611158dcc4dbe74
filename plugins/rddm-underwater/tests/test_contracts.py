import pytest
from rddm_underwater.task import Underwater
from rddm_underwater.uciqe import UCIQE
from rddm_underwater.uiqm import UIQM
from rddm_underwater.water import Water
from rddm_underwater.wtconv import WTConvUNet

from rddm.plugin import Component
from rddm.sources.photos import Photos
from rddm.testing import check

PHOTOS = {"train": Photos(), "eval": Photos(images="test"), "degradation": Water()}


@pytest.mark.parametrize(
    "part",
    [
        UIQM(),
        UIQM(convention="definition"),
        UCIQE(),
        UCIQE(convention="definition"),
        Underwater(**PHOTOS),
        Underwater(**PHOTOS, sees="input+lab"),
        Underwater(**PHOTOS, sees="input"),
    ],
    ids=lambda part: "-".join((part.kind, part.name)),
)
def test_components_keep_the_contract_of_their_kind(part: Component) -> None:
    check(part)


def test_the_water_keeps_the_contract_of_its_kind() -> None:
    check(Water(), examples=8)


def test_the_backbone_keeps_the_contract_of_its_kind() -> None:
    check(WTConvUNet(width=8, enc_blocks=(1,), middle_blocks=1, dec_blocks=(1,)))
