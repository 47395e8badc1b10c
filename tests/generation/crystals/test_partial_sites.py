from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Species, Structure

from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation.crystals.conductors import conductor_cell
from aiida_mlip_autopipe.generation.crystals.partial_sites import Ion, PartialSites


@pytest.fixture
def garnet():
    """The framework of Li7La3Zr2O12, its charges, and its 24d and 96h sites in two pools."""
    framework, roles, mobile = conductor_cell('garnet')
    framework.set_cell(framework.cell.array * 12.97, scale_atoms=True)
    framework.set_chemical_symbols([{'A': 'La', 'B': 'Zr', 'X': 'O'}[role] for role in roles])
    charges = np.array([{'A': 3.0, 'B': 4.0, 'X': -2.0}[role] for role in roles])
    return framework, charges, mobile @ framework.cell.array


def ewald_energy(fixed: Atoms, charges: np.ndarray, positions: np.ndarray, ions: np.ndarray) -> float:
    species = [Species('Na', charge) for charge in (*charges, *ions)]
    places = np.vstack([fixed.positions, positions])
    return EwaldSummation(Structure(fixed.cell.array, species, places, coords_are_cartesian=True)).total_energy


def test_the_chosen_ordering_has_the_lowest_energy_of_those_tried(garnet):
    fixed, charges, sites = garnet
    partial = PartialSites(fixed, sites, np.zeros(len(sites), dtype=int), lambda one, other: 2.3)
    found = partial.order(charges, [Ion('Li', 1.0, 0, 56)], 5, np.random.default_rng(1))
    chosen = sites[found.occupants == 0]
    assert len(chosen) == 56
    energy = ewald_energy(fixed, charges, chosen, np.ones(56))
    assert energy == pytest.approx(min(found.energies_eV), abs=1e-4)
    assert energy < np.mean(found.random_energies_eV)
    assert all(low <= start for low, start in zip(found.energies_eV, found.random_energies_eV, strict=True))
    assert neighbor_list('d', Atoms('Li56', chosen, cell=fixed.cell, pbc=True), 4.0).min() > 2.3
    again = PartialSites(fixed, sites, partial.pools, lambda one, other: 2.3)
    repeated = again.order(charges, [Ion('Li', 1.0, 0, 56)], 5, np.random.default_rng(1))
    assert np.array_equal(found.occupants, repeated.occupants)


def test_no_exchange_of_an_ion_lowers_the_energy_further(garnet):
    fixed, charges, sites = garnet
    partial = PartialSites(fixed, sites, np.zeros(len(sites), dtype=int), lambda one, other: 2.3)
    found = partial.order(charges, [Ion('Li', 1.0, 0, 56)], 1, np.random.default_rng(2)).occupants
    energy = partial._energy(charges, (found == 0).astype(float))
    for ion in np.flatnonzero(found == 0)[::7]:
        for vacant in np.flatnonzero(found < 0):
            moved = found.copy()
            moved[[ion, vacant]] = moved[[vacant, ion]]
            if not (partial.excluded[vacant] & (moved == 0)).any():
                assert partial._energy(charges, (moved == 0).astype(float)) > energy - 2e-5


def test_an_arrangement_on_nearly_full_sites_with_exclusion_is_found(garnet):
    fixed, _, sites = garnet
    pools = np.array([0] * 24 + [1] * 96)
    partial = PartialSites(fixed, sites, pools, lambda one, other: 2.3)
    ions = [Ion('Li', 0.0, 0, 13), Ion('Li', 0.0, 1, 43)]
    occupants = partial.order(np.zeros(len(fixed)), ions, 1, np.random.default_rng(0)).occupants
    assert [int(np.sum(occupants[pools == pool] == pool)) for pool in (0, 1)] == [13, 43]
    assert not (partial.excluded & (occupants >= 0)[:, None] & (occupants >= 0)).any()


def test_too_many_ions_for_the_distance_are_refused_with_their_number(garnet):
    fixed, charges, sites = garnet
    partial = PartialSites(fixed, sites, np.zeros(len(sites), dtype=int), lambda one, other: 2.3)
    with pytest.raises(PhysicsViolationError) as caught:
        partial.order(charges, [Ion('Li', 1.0, 0, 80)], 1, np.random.default_rng(0))
    assert caught.value.rule == 'exclusion'
    assert caught.value.value < caught.value.limit == 80


def test_charges_on_a_simple_cubic_lattice_order_as_in_rock_salt():
    # The lowest electrostatic energy of two ions on a simple cubic lattice is that of rock salt.
    sites = bulk('Po', 'sc', a=3.0).repeat((2, 2, 2))
    partial = PartialSites(Atoms(cell=sites.cell, pbc=True), sites.positions, np.zeros(8, dtype=int), lambda a, b: 0.0)
    ions = [Ion('Na', 1.0, 0, 4), Ion('Cl', -1.0, 0, 4)]
    found = partial.order(np.zeros(0), ions, 10, np.random.default_rng(0))
    parity = np.round(sites.positions / 3.0).astype(int).sum(axis=1) % 2
    assert set(found.occupants[parity == 0]) in ({0}, {1})
    # The Madelung constant of rock salt is 1.747565; 14.399645 eV Å is e²/(4πε0).
    assert min(found.energies_eV) == pytest.approx(-4 * 1.747565 * 14.399645 / 3.0, rel=1e-5)
