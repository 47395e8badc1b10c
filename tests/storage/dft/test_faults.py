from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dft.faults import summarise_faults


def test_errors_with_the_same_reason_are_counted_after_the_first_ones():
    missing = [AutopipeError(Code.CALCULATION_MISSING, f'runs/{n}: vasprun.xml does not exist') for n in range(100)]
    changed = [AutopipeError(Code.CALCULATION_CHANGED, f'runs/{n}: ENCUT: 520 and {300 + n}') for n in range(4)]
    other = [AutopipeError(Code.CALCULATION_MISSING, 'step 1 of seed-a: runs contains no calculation of it')]
    summary = summarise_faults([*missing, *other, *changed])
    assert [fault.code for fault in summary] == [Code.CALCULATION_MISSING] * 5 + [Code.CALCULATION_CHANGED] * 4
    assert summary[:3] == missing[:3]
    assert all(value in str(summary[3]) for value in ('97', '100 rows', 'vasprun.xml'))
    assert summary[4:] == [*other, *changed]


def test_no_errors_give_no_summary():
    assert summarise_faults([]) == []
