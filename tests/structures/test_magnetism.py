"""Magnetic elements and initial magnetic moments."""

from __future__ import annotations

from ase.build import bulk

from aiida_mlip_autopipe.structures.magnetism import high_spin_moments, magnetic_elements


def test_magnetic_elements_are_found_in_all_structures():
    structures = [bulk('NiO', 'rocksalt', 4.18), bulk('Fe'), bulk('Ti')]
    assert magnetic_elements(structures) == ['Fe', 'Ni']
    assert magnetic_elements([bulk('Cu')]) == magnetic_elements([]) == []


def test_a_high_spin_state_starts_from_the_moment_of_the_free_atom():
    assert high_spin_moments(['Fe', 'Mn', 'O']) == {'Fe': 4.0, 'Mn': 5.0, 'O': 2.0}
