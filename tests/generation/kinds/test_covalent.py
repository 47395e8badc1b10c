from __future__ import annotations

import numpy as np
import pytest
import spglib
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.covalent import CovalentSettings


def covalent(structure: str, fields: dict | None = None, **sites) -> dict:
    return {'kind': 'covalent', 'structure': structure, 'sites': sites, **(fields or {})}


def spacegroup(atoms) -> int:
    return int(spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)).number)


def bonds(atoms, limit: float) -> tuple[float, float]:
    """Return the mean length of the bonds up to a limit in Å, and their number per atom."""
    from matscipy.neighbours import neighbour_list

    distances = neighbour_list('d', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=limit)
    return float(distances.mean()), len(distances) / len(atoms)


@pytest.mark.parametrize(
    ('structure', 'sites', 'number', 'bond', 'neighbours'),
    [
        ('diamond', {'A': 'C'}, 227, 1.544, 4), ('diamond', {'A': 'Si'}, 227, 2.35, 4),
        ('zincblende', {'A': 'Ga', 'X': 'As'}, 216, 2.45, 4), ('wurtzite', {'A': 'Al', 'X': 'N'}, 186, 1.89, 4),
        ('graphite', {'A': 'C'}, 194, 1.42, 3), ('graphene', {'A': 'C'}, 191, 1.42, 3),
        ('graphene', {'A': 'B', 'X': 'N'}, 187, 1.45, 3),
        ('quartz', {'A': 'Si', 'X': 'O'}, 154, 1.61, 8 / 3), ('cristobalite', {'A': 'Si', 'X': 'O'}, 92, 1.61, 8 / 3),
        ('quartz', {'A': 'Ge', 'X': 'O'}, 154, 1.74, 8 / 3),
    ],
)  # fmt: skip
def test_a_network_has_the_symmetry_bonds_and_neighbours_of_the_real_crystal(
    generate, structure, sites, number, bond, neighbours
):
    (seed,) = generate(covalent(structure, **sites)).seeds
    assert spacegroup(seed.atoms) == number
    length, count = bonds(seed.atoms, 1.25 * bond)
    assert length == pytest.approx(bond, rel=0.08)
    assert length == pytest.approx(seed.record['bond_A'], rel=1e-6)
    assert count == pytest.approx(neighbours)


def test_the_bond_length_can_be_set(generate):
    (seed,) = generate(covalent('graphene', {'bond_A': 1.42, 'n_atoms': 50}, A='C')).seeds
    assert bonds(seed.atoms, 1.6)[0] == pytest.approx(1.42)
    assert len(seed.atoms) == 50


@pytest.mark.parametrize(('stacking', 'number', 'n_atoms'), [('AA', 191, 2), ('AB', 194, 4), ('ABC', 166, 6)])
def test_graphite_has_the_chosen_stacking(generate, stacking, number, n_atoms):
    (seed,) = generate(covalent('graphite', {'stacking': stacking}, A='C')).seeds
    assert len(seed.atoms) == n_atoms
    assert spacegroup(seed.atoms) == number
    assert seed.atoms.cell[2, 2] == pytest.approx(3.35 * n_atoms / 2)


def test_boron_nitride_has_boron_above_nitrogen(generate):
    (seed,) = generate(covalent('graphite', {'stacking': "AA'"}, A='B', X='N')).seeds
    assert spacegroup(seed.atoms) == 194
    for atom in seed.atoms:
        above = [other.symbol for other in seed.atoms if np.allclose(other.position[:2], atom.position[:2])]
        assert sorted(above) == ['B', 'N']


def test_a_stack_of_graphene_has_layers_and_vacuum_and_is_repeated_in_its_plane(generate):
    entry = covalent('graphene', {'n_layers': 3, 'vacuum_A': 12}, A='C')
    (seed,) = generate(entry, cutoff_A=5.0).seeds
    assert np.unique(seed.atoms.positions[:, 2].round(6)) == pytest.approx([6, 9.35, 12.7])
    assert seed.atoms.cell[2, 2] == pytest.approx(18.7)
    assert seed.record['supercell'] == [5, 5, 1]


def test_shared_sites_have_the_composition(generate):
    seeds = generate(covalent('diamond', {'n_seeds': 3, 'n_atoms': 64}, A={'Si': 0.75, 'Ge': 0.25})).seeds
    assert len(seeds) == 3
    assert all(seed.atoms.symbols.formula.count() == {'Si': 48, 'Ge': 16} for seed in seeds)
    (seed,) = generate(covalent('zincblende', {'n_seeds': 1, 'n_atoms': 64}, A={'Ga': 0.5, 'In': 0.5}, X='As')).seeds
    assert seed.atoms.symbols.formula.count() == {'Ga': 16, 'In': 16, 'As': 32}


@pytest.mark.parametrize(
    ('structure', 'sites', 'values'),
    [
        ('quartz', {'A': 'Si'}, ['quartz', 'A and X']),
        ('diamond', {'A': 'Si', 'X': 'C'}, ['diamond', 'zincblende']),
        ('diamond', {'X': 'C'}, ['A']),
    ],
)
def test_sites_that_the_network_does_not_have_are_refused(structure, sites, values):
    with refused(Code.SITES_MISMATCH, *values):
        CovalentSettings(structure=structure, sites=sites)


def test_a_graphene_sheet_of_a_given_number_of_atoms_is_repeated_only_in_its_plane(generate):
    (seed,) = generate({'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}, 'n_atoms': 54}).seeds
    assert len(seed.atoms) == 54
    assert seed.record['supercell'][2] == 1
    assert seed.atoms.cell[2, 2] == pytest.approx(15)
