"""Tests for components of any package: one line runs every property of a kind.

from rddm.testing import check

def test_it_keeps_the_contract_of_its_kind():
    check(Cosine(T=100))

`contract(kind)` lists what is checked; `strategies` draws paths, states, images and predictions for tests of your own.
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401  for the message alone
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "rddm.testing draws its cases with hypothesis; type: pip install 'residual-diffusion[testing]'",
        name="hypothesis",
    ) from missing

from rddm.testing import strategies
from rddm.testing._check import ContractError, check, contract

__all__ = ["ContractError", "check", "contract", "strategies"]
