"""That the tests notice faults in the mathematics."""

from __future__ import annotations

import pytest
from mutations import FAULTS, ROOT, Fault, copy_with, main


def test_faults_have_names_of_their_own_and_change_something():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40
    assert all(fault.old != fault.new for fault in FAULTS)


def test_every_fault_fits_the_package_as_it_is():
    """Whoever rewrites a line that a fault replaces moves the fault along."""
    texts = {fault.file: (ROOT / "rddm" / fault.file).read_text(encoding="utf-8") for fault in FAULTS}
    assert {fault.name: texts[fault.file].count(fault.old) for fault in FAULTS} == {fault.name: 1 for fault in FAULTS}


def test_a_fault_that_does_not_fit_is_an_error_and_not_taken_for_caught(tmp_path):
    with pytest.raises(LookupError, match="odd: 'no such text' is 0 times in core/process.py"):
        copy_with(Fault("odd", "core/process.py", "no such text", "", "oracle", "few"), tmp_path)


@pytest.mark.slow
def test_every_fault_is_caught_by_a_test(capsys):
    assert main([]) == 0, capsys.readouterr().out
