"""That the tests notice faults in the mathematics."""

from __future__ import annotations

import pytest
from mutations import FAULTS, main


def test_faults_have_names_of_their_own_and_change_something():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40
    assert all(fault.old != fault.new for fault in FAULTS)


@pytest.mark.slow
def test_every_fault_is_caught_by_a_test(capsys):
    assert main([]) == 0, capsys.readouterr().out
