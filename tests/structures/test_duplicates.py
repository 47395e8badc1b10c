import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

from aiida_mlip_autopipe.structures.duplicates import (
    LabelledStructures,
    filled_extent,
    fingerprint,
    force_quantiles,
    join_alike,
)


@pytest.mark.parametrize(('symbol', 'nearest'), [('Cu', 2.55), ('Al', 2.86), ('Na', 3.72), ('Ar', 3.76), ('Xe', 4.34)])
def test_a_fingerprint_distinguishes_fcc_from_ideal_hcp_and_is_the_same_in_any_cell(symbol, nearest):
    fcc = bulk(symbol, 'fcc', a=nearest * 2**0.5)
    hcp = bulk(symbol, 'hcp', a=nearest, c=nearest * (8 / 3) ** 0.5)
    assert fingerprint(fcc) != fingerprint(hcp)
    for crystal in (fcc, hcp):
        other = crystal.repeat((2, 3, 1))
        other.rotate(33, (1, 2, 3), rotate_cell=True)
        other.positions += 0.37
        assert fingerprint(other) == fingerprint(crystal)


@pytest.mark.parametrize('n', [1, 2, 15, 16, 17, 64])
def test_quantiles_are_not_interpolated_and_are_the_same_for_a_supercell(n):
    forces = np.random.default_rng(n).normal(size=(n, 3))
    norms = np.linalg.norm(forces, axis=1)
    expected = np.quantile(norms, np.linspace(0, 1, 17), method='inverted_cdf')
    np.testing.assert_allclose(force_quantiles(forces), expected, rtol=1e-14)
    np.testing.assert_array_equal(force_quantiles(np.tile(forces, (3, 1))), force_quantiles(forces))


def test_groups_are_joined_along_a_chain_if_all_four_quantities_agree():
    n = 7
    found = LabelledStructures(
        formulas=['Cu', 'Cu', 'Cu', 'Au', 'Cu', 'Cu', 'Cu'],
        energies=np.array([1.0, 1.000005, 1.00001, 1.0, 2.0, 1.0, 1.0]),
        volumes=np.array([10.0, 10.0, 10.0, 10.0, 10.0, 11.0, 10.0]),
        forces=np.array([*np.zeros((n - 1, 17)), np.full(17, 0.01)]),
    )
    assert join_alike(found, list('cbadefg')) == ['a', 'a', 'a', 'd', 'e', 'f', 'g']


def test_the_extent_of_a_structure_does_not_depend_on_its_vacuum_or_supercell():
    def extent(atoms):
        return filled_extent(atoms.positions, atoms.cell.array, atoms.pbc) / len(atoms)

    crystal = bulk('Cu', cubic=True)
    assert extent(crystal) == pytest.approx(3.61**3 / 4, rel=1e-12)
    assert extent(crystal * (3, 2, 1)) == pytest.approx(extent(crystal), rel=1e-12)
    slabs = [fcc111('Cu', (2, 2, 3), vacuum=vacuum) for vacuum in (5.0, 12.0)]
    slabs += [slabs[0] * (2, 1, 1), fcc111('Cu', (2, 2, 3), vacuum=5.0, periodic=True)]
    np.testing.assert_allclose([extent(slab) for slab in slabs], extent(slabs[0]), rtol=1e-12)
    molecules = [molecule('H2O', vacuum=vacuum) for vacuum in (None, 5.0, 9.0)]
    molecules.append(molecule('H2O', vacuum=8.0, pbc=True))
    assert [extent(one) for one in molecules] == [1 / 3] * 4
