import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, fingerprint, force_quantiles, join_alike


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
