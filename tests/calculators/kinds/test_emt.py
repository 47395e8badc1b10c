"""EMT without memory."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader, EMTSettings


def forces_fresh_and_after_a_detour(make):
    """Return the forces on a structure from a new calculator, and from one that was elsewhere before."""
    atoms = bulk('Cu', cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    elsewhere = atoms.copy()
    elsewhere.rattle(0.05, seed=1)
    answers = []
    for structures in ([atoms], [elsewhere, atoms]):
        evaluator = Evaluator(atoms.copy(), make(), with_stress=True)
        for structure in structures:
            evaluation = evaluator.evaluate(structure.positions, structure.cell.array)
        answers.append(evaluation.forces)
    return answers


def test_forces_do_not_depend_on_where_the_atoms_have_been():
    fresh, later = forces_fresh_and_after_a_detour(lambda: EMTLoader(EMTSettings()).load().calculator)
    assert np.array_equal(fresh, later)


def test_those_of_ase_do():
    # If this fails, ASE has mended it and the wrapper can go.
    fresh, later = forces_fresh_and_after_a_detour(EMT)
    assert not np.array_equal(fresh, later)
    assert np.allclose(fresh, later, atol=1e-10)


def test_the_numbers_are_those_of_ase():
    atoms = bulk('Cu', cubic=True) * (2, 2, 2)
    atoms.numbers[::3] = 79
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    evaluator = Evaluator(atoms.copy(), EMTLoader(EMTSettings()).load().calculator, with_stress=True)
    evaluation = evaluator.evaluate(atoms.positions, atoms.cell.array)
    assert np.isclose(evaluation.energy, atoms.get_potential_energy(), atol=1e-12)
    assert np.allclose(evaluation.forces, atoms.get_forces(), atol=1e-12)
    assert np.allclose(evaluation.stress, atoms.get_stress(), atol=1e-12)


def test_the_cutoff_covers_the_range_of_the_list():
    calculator = EMTLoader(EMTSettings()).load().calculator
    calculator.calculate(bulk('Cu'), ['energy'], ['numbers', 'positions', 'cell', 'pbc'])
    assert calculator.rc_list <= EMTSettings().cutoff_A
