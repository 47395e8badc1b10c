from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation import ValidationSettings
from aiida_mlip_autopipe.generation.validation import check_atoms, check_parent


def broken_rule(atoms, cutoff_A=0.0, **fields) -> PhysicsViolationError | None:
    settings = ValidationSettings(**fields)
    try:
        check_parent(atoms, settings)
        check_atoms(atoms, settings, cutoff_A)
    except PhysicsViolationError as violation:
        return violation
    return None


def pair(symbols: str, distance: float) -> Atoms:
    return Atoms(symbols, positions=[[0, 0, 0], [0, 0, distance]])


def test_the_distance_limit_is_a_fraction_of_the_sum_of_covalent_radii():
    assert broken_rule(pair('Cu2', 0.6 * 2.64 + 1e-6)) is None
    violation = broken_rule(pair('Cu2', 0.6 * 2.64 - 1e-6))
    assert violation is not None
    assert (violation.rule, violation.atoms) == ('min_distance', (0, 1))
    assert violation.value == pytest.approx(violation.limit, abs=2e-6)
    assert all(value in str(violation) for value in ('0 (Cu)', '1 (Cu)', '1.584 Å'))


def test_periodic_images_count_as_atoms():
    violation = broken_rule(Atoms('Cu', cell=[1.2, 9, 9], pbc=True), plausible_volume=False)
    assert violation is not None
    assert violation.atoms == (0, 0)


def test_coincident_atoms_are_found():
    assert broken_rule(pair('Cu2', 0.0)).rule == 'min_distance'


def test_a_pair_of_elements_can_have_its_own_limit():
    assert broken_rule(pair('O2', 1.21)) is None
    assert broken_rule(pair('O2', 1.21), min_distances_A={'O-O': 1.3}).limit == 1.3
    assert broken_rule(pair('CuO', 0.9), min_distances_A={'O-Cu': 0.8}) is None


def test_ions_of_like_charge_need_larger_distances():
    peroxide = pair('O2', 1.5)
    assert broken_rule(peroxide) is None
    peroxide.set_initial_charges([-2, -2])
    assert broken_rule(peroxide, neutral=False).limit == 2.0
    assert broken_rule(peroxide, neutral=False, like_charges=False) is None
    bound = pair('MgO', 1.3)
    bound.set_initial_charges([2, -2])
    assert broken_rule(bound) is None


@pytest.mark.parametrize(
    ('symbols', 'charge', 'distance', 'limit'),
    [('S2', -2, 2.2, 1.25 * 2.10), ('Cl2', -1, 2.5, 1.25 * 2.04), ('OF', [-2, -1], 1.5, 1.25 * 1.23),
     ('Mg2', 2, 2.0, 0.75 * 2.82), ('O2', -2, 1.99, 2.0)],
)  # fmt: skip
def test_anions_and_cations_have_different_limits(symbols, charge, distance, limit):
    ions = pair(symbols, distance)
    ions.set_initial_charges(np.broadcast_to(charge, 2))
    for reach in (1.7, 0):
        assert broken_rule(ions, neutral=False, max_neighbour_factor=reach).limit == pytest.approx(limit)
    ions.positions[1, 2] = limit + 1e-6
    assert broken_rule(ions, neutral=False) is None


def test_bonded_anions_are_allowed():
    # Peroxide, the pair of pyrite, carbide and superoxide, and the contacts within a tetrahedron.
    for symbols, charge, distance in (('O2', -1, 1.49), ('S2', -1, 2.16), ('C2', -1, 1.2), ('O2', -0.5, 1.28)):
        ions = pair(symbols, distance)
        ions.set_initial_charges([charge, charge])
        assert broken_rule(ions, neutral=False) is None
    tetrahedron = molecule('CCl4')
    tetrahedron.set_initial_charges([4, -1, -1, -1, -1])
    assert broken_rule(tetrahedron) is None


def test_noble_gases_use_van_der_waals_radii():
    assert broken_rule(pair('Ar2', 2.0)).limit == pytest.approx(0.6 * 2 * 1.88)
    assert broken_rule(pair('Ar2', 3.8)) is None


def test_known_bond_lengths_and_crystals_are_allowed():
    for distance, symbols in ((1.76, 'UO'), (1.58, 'VO'), (1.68, 'Cr2'), (0.741, 'H2'), (1.098, 'N2')):
        assert broken_rule(pair(symbols, distance)) is None
    for element in ('Cu', 'W', 'K', 'Ti', 'C', 'Ar', 'Po'):
        assert broken_rule(bulk(element)) is None


def test_an_isolated_atom_is_found():
    atoms = molecule('CH4') + Atoms('Cu', positions=[[9, 9, 9]])
    violation = broken_rule(atoms)
    assert (violation.rule, violation.atoms) == ('isolated_atom', (5,))
    assert broken_rule(atoms, max_neighbour_factor=0) is None
    assert broken_rule(molecule('CH4') + Atoms('Ne', positions=[[9, 9, 9]])) is None
    assert broken_rule(Atoms('Cu')) is None


def test_the_perpendicular_width_is_checked_along_periodic_directions():
    sheared = bulk('Cu')  # the vectors of the primitive cell are 2.55 Å long, and its perpendicular widths are 2.08 Å
    violation = broken_rule(sheared, cutoff_A=1.1)
    assert violation.rule == 'min_width'
    assert violation.value == pytest.approx(3.61 / np.sqrt(3))
    assert violation.limit == pytest.approx(2.2)
    assert broken_rule(sheared, cutoff_A=1.0) is None
    wire = Atoms('Cu', cell=[0, 0, 2.5], pbc=[False, False, True])
    assert broken_rule(wire, cutoff_A=1.2) is None
    assert broken_rule(molecule('CH4'), cutoff_A=6.0) is None


def test_an_implausible_volume_or_density_is_refused():
    atoms = bulk('Cu', a=9.0)
    assert broken_rule(atoms, max_neighbour_factor=0).rule == 'volume_per_atom'
    assert broken_rule(bulk('Cu', a=2.2)).rule == 'volume_per_atom'
    assert broken_rule(bulk('Os', 'fcc', a=3.3)).rule == 'density'


def test_ice_and_solid_hydrogen_are_plausible():
    ice = Atoms('OH2', cell=[(32.5) ** (1 / 3)] * 3, pbc=True)
    hydrogen = Atoms('H2', cell=[(38.8) ** (1 / 3)] * 3, pbc=True)
    for atoms in (ice, hydrogen):
        check_parent(atoms, ValidationSettings())


def test_vacuum_does_not_make_a_volume_implausible():
    slab = bulk('Cu', cubic=True)
    slab.cell[2, 2] = 60
    assert broken_rule(slab) is None


def test_formal_charges_must_sum_to_zero():
    salt = bulk('NaCl', 'rocksalt', a=5.64)
    salt.set_initial_charges([1, -1])
    assert broken_rule(salt) is None
    salt.set_initial_charges([1, -2])
    assert broken_rule(salt).rule == 'formal_charge'
    assert broken_rule(salt, neutral=False) is None


@pytest.mark.parametrize(
    ('pair', 'distance', 'code', 'value'),
    [
        ('OO', 2.0, Code.VALUE_INVALID, 'OO'),
        ('O-Xy', 2.0, Code.ELEMENT_UNKNOWN, "'Xy'"),
        ('O-O', -1, Code.VALUE_INVALID, 'O-O: -1'),
    ],
)
def test_a_minimum_distance_needs_a_pair_of_elements_and_a_positive_number(pair, distance, code, value):
    with refused(code, 'min_distances_A', value):
        ValidationSettings(min_distances_A={pair: distance})


def test_a_small_cell_is_kept_as_given_by_name(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'supercell': [1, 1, 1]}
    (wide,) = generate(entry, cutoff_A=5.0).seeds
    (given,) = generate({**entry, 'validation': {'cell': 'as_given'}}, cutoff_A=5.0).seeds
    assert (len(wide.atoms), len(given.atoms)) == (108, 4)
    (half,) = generate({**entry, 'validation': {'cell': 'wide_enough', 'min_width_factor': 1}}, cutoff_A=5.0).seeds
    assert len(half.atoms) == 32


def test_a_width_of_zero_and_a_width_of_a_cell_as_given_are_refused():
    with refused(Code.VALUE_INVALID, 'min_width_factor', 'cell: as_given'):
        ValidationSettings(min_width_factor=0)
    with refused(Code.VALUES_EXCLUDE, 'as_given', 'min_width_factor'):
        ValidationSettings(min_width_factor=1, cell='as_given')
