from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip_autopipe.labelling.checks import choose_variation, find_fault, find_suspicious, judge_repeat
from aiida_mlip_autopipe.labelling.label import Failure, Label

# Energies of atoms of the MLIP, and what the reference adds to them.
ATOMS = {'Cu': -3.5, 'Au': -3.2}
OFFSETS = {'Cu': -1000.0, 'Au': -2000.0}
VARIATIONS = ('mixing', 'k_points', 'magnetic_start')


@pytest.fixture
def labelled():
    """Return 20 crystals with kinds, labels and results of an MLIP that differ by noise and offsets per element."""
    rng = np.random.default_rng(3)
    structures, labels, mlip = [], [], []
    for _ in range(20):
        atoms = bulk('Cu', cubic=True)
        atoms.symbols = rng.choice(['Cu', 'Au'], size=4)
        forces = rng.normal(0, 1, (4, 3))
        forces -= forces.mean(axis=0)
        energy = sum(ATOMS[symbol] for symbol in atoms.symbols) + rng.normal(0, 0.2)
        noise = rng.normal(0, 0.05, (4, 3))
        offset = sum(OFFSETS[symbol] for symbol in atoms.symbols)
        structures.append(atoms)
        labels.append(Label(energy + offset + rng.normal(0, 0.02), 'free_energy', forces + noise - noise.mean(axis=0)))
        mlip.append((energy, forces))
    return SimpleNamespace(structures=structures, kinds=['alloy'] * 20, labels=labels, mlip=mlip)


def suspicions(labelled):
    """Return the rules by which labels are suspicious, by their indices."""
    found = find_suspicious(**vars(labelled))
    return {index: [one.rule for one in rules] for index, rules in found.items()}


def shifted(label, energy=0.0, force=0.0):
    forces = label.forces_eV_A.copy()
    forces[0, 0] += force
    forces[1, 0] -= force
    return replace(label, energy_eV=label.energy_eV + energy, forces_eV_A=forces)


def test_labels_that_scatter_around_the_mlip_are_not_suspicious(labelled):
    assert suspicions(labelled) == {}


def test_an_energy_far_from_the_mlip_is_suspicious_although_its_composition_allows_it(labelled):
    labelled.labels[5] = shifted(labelled.labels[5], energy=1.2)
    assert suspicions(labelled) == {5: ['energy_of_mlip']}
    (suspicion,) = find_suspicious(**vars(labelled))[5]
    assert suspicion.value == pytest.approx(0.3, abs=0.03)
    assert 0.1 <= suspicion.limit < 0.3


def test_a_shifted_energy_is_found_without_an_mlip(labelled):
    labelled.labels[7] = shifted(labelled.labels[7], energy=-100.0)
    labelled.mlip = [None] * 20
    assert suspicions(labelled) == {7: ['energy_of_composition']}
    assert find_suspicious(**vars(labelled))[7][0].value == pytest.approx(-25, abs=0.5)


def test_forces_far_from_those_of_the_mlip_are_suspicious(labelled):
    labelled.labels[2] = shifted(labelled.labels[2], force=4.0)
    assert suspicions(labelled) == {2: ['forces_of_mlip']}
    # Two of four atoms have a wrong force.
    assert find_suspicious(**vars(labelled))[2][0].value == pytest.approx(4 / np.sqrt(2), abs=0.1)


def test_dimers_and_few_structures_are_not_compared(labelled):
    labelled.labels[2] = shifted(labelled.labels[2], energy=500, force=40)
    labelled.kinds[2] = 'dimer'
    assert suspicions(labelled) == {}
    labelled.kinds[2] = 'alloy'
    assert suspicions(labelled) == {2: ['energy_of_composition', 'energy_of_mlip', 'forces_of_mlip']}
    few = {name: part[:9] for name, part in vars(labelled).items()}
    assert find_suspicious(**few) == {}
    assert find_suspicious([], [], [], []) == {}


def test_a_label_with_a_net_force_is_left_out(labelled):
    label = labelled.labels[0]
    assert find_fault(label) is None
    label.forces_eV_A[0, 2] += 0.05
    assert find_fault(label).rule == 'net_force'
    failure = Failure('the SCF cycle did not converge', 'not_converged')
    assert (find_fault(failure).rule, find_fault(failure).reason) == ('not_converged', failure.reason)


def test_a_label_is_kept_if_its_repetition_agrees(labelled):
    label = labelled.labels[0]
    assert judge_repeat(label, label) is None
    assert judge_repeat(label, shifted(label, energy=0.019, force=0.04)) is None
    assert judge_repeat(label, shifted(label, energy=-0.021)).rule == 'repeat_differs'
    assert judge_repeat(label, shifted(label, force=0.2)).rule == 'repeat_differs'
    # The limit of the forces grows with the largest force.
    far = shifted(label, force=100.0)
    assert judge_repeat(far, shifted(far, force=1.5)) is None
    assert judge_repeat(far, shifted(far, force=3.0)).rule == 'repeat_differs'
    assert judge_repeat(label, Failure('it did not converge', 'not_converged')).rule == 'repeat_failed'


def test_the_repetition_changes_what_is_most_likely_wrong():
    crystal, molecule = bulk('Cu', cubic=True), Atoms('O2', positions=[[0, 0, 0], [0, 0, 1.2]])
    assert choose_variation(crystal, VARIATIONS) == 'k_points'
    assert choose_variation(molecule, VARIATIONS) == 'mixing'
    for atoms in (crystal, molecule):
        atoms.set_initial_magnetic_moments([2.0] * len(atoms))
        assert choose_variation(atoms, VARIATIONS) == 'magnetic_start'
    assert choose_variation(crystal, ('mixing', 'k_points')) == 'k_points'
    assert choose_variation(crystal, ()) is None
