"""EMT whose results do not depend on earlier structures."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader, EMTSettings


def forces_with_and_without_history(make):
    """Return the forces on a structure from a new calculator, and from one that has evaluated another structure."""
    atoms = bulk('Cu', cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    other = atoms.copy()
    other.rattle(0.05, seed=1)
    answers = []
    for structures in ([atoms], [other, atoms]):
        evaluator = Evaluator(atoms.copy(), make(), with_stress=True)
        for structure in structures:
            evaluation = evaluator.evaluate(structure.positions, structure.cell.array)
        answers.append(evaluation.forces)
    return answers


def test_forces_do_not_depend_on_earlier_positions():
    fresh, later = forces_with_and_without_history(lambda: EMTLoader(EMTSettings()).load().calculator)
    assert np.array_equal(fresh, later)


def test_forces_of_plain_ase_emt_depend_on_earlier_positions():
    # If this fails, ASE has fixed the problem, and the wrapper can be removed.
    fresh, later = forces_with_and_without_history(EMT)
    assert not np.array_equal(fresh, later)
    assert np.allclose(fresh, later, atol=1e-10)


def test_the_results_equal_those_of_plain_ase_emt():
    atoms = bulk('Cu', cubic=True) * (2, 2, 2)
    atoms.numbers[::3] = 79
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    evaluator = Evaluator(atoms.copy(), EMTLoader(EMTSettings()).load().calculator, with_stress=True)
    evaluation = evaluator.evaluate(atoms.positions, atoms.cell.array)
    assert np.isclose(evaluation.energy, atoms.get_potential_energy(), atol=1e-12)
    assert np.allclose(evaluation.forces, atoms.get_forces(), atol=1e-12)
    assert np.allclose(evaluation.stress, atoms.get_stress(), atol=1e-12)


def test_the_cutoff_covers_the_neighbour_list():
    calculator = EMTLoader(EMTSettings()).load().calculator
    calculator.calculate(bulk('Cu'), ['energy'], ['numbers', 'positions', 'cell', 'pbc'])
    assert calculator.rc_list <= EMTSettings().cutoff_A


def test_the_numbers_are_those_of_ase_3_23_to_3_29():
    # The level of theory does not contain the version of ASE. If this test fails, the version must be added to it.
    atoms = bulk('Cu', cubic=True)
    atoms.symbols = ['Cu', 'Au', 'Ni', 'Al']
    atoms.positions[1] += [0.1, -0.2, 0.05]
    atoms.calc = EMTLoader(EMTSettings()).load().calculator
    assert np.isclose(atoms.get_potential_energy(), 1.3512465998045498, rtol=1e-12)
    assert np.allclose(atoms.get_forces()[1], [-1.62949344, 2.95450677, -0.80088685], atol=1e-8)
    stress = [-0.16259143, -0.1785583, -0.18009598, 0.0064647, -0.00166582, 0.01513473]
    assert np.allclose(atoms.get_stress(), stress, atol=1e-8)
