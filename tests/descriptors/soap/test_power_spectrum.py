"""The features agree with those of dscribe's SOAP."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, nanotube
from ase.cluster import Octahedron
from dscribe.descriptors import SOAP
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.soap.density_expansion import N_CENTRES, DensityExpansion
from aiida_mlip_autopipe.descriptors.soap.power_spectrum import PowerSpectrum

COMPRESSIONS = ['off', 'mu1nu1', 'crossover', 'mu2']
SPECIES = [6, 8, 29, 79]


def both(compression='off', n_max=4, l_max=4, r_cut_A=4.0, sigma_A=0.5, species=SPECIES):
    """Return our power spectrum, and a function that computes dscribe's, averaged (outer) or not (off)."""
    weights = 1.0 + np.array(species) / 100.0
    ours = PowerSpectrum(DensityExpansion(r_cut_A, n_max, l_max, sigma_A), species, compression, weights)

    def reference(atoms, average):
        weighting = {'species_weighting': dict(zip(species, weights, strict=True))} if compression == 'mu2' else {}
        soap = SOAP(
            species=species,
            r_cut=r_cut_A,
            n_max=n_max,
            l_max=l_max,
            sigma=sigma_A,
            average=average,
            compression={'mode': compression} | weighting,
            periodic=True,
        )
        return np.atleast_2d(soap.create(atoms))

    return ours, reference


def agree(found, expected):
    scale = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-9)


def _alloy():
    alloy = bulk('Cu', cubic=True) * (2, 2, 1)
    alloy.numbers[::3] = 79
    alloy.rattle(0.1, seed=1)
    return alloy


def _slab():
    slab = fcc111('Cu', (2, 2, 2), vacuum=6.0)
    add_adsorbate(slab, molecule('CO'), 1.8)
    return slab


def _skewed():
    skewed = bulk('Cu') * (1, 2, 1)
    skewed.numbers[0] = 79
    skewed.set_cell([[2.5, 0.1, 0.0], [1.9, 2.7, 0.2], [-1.1, 1.6, 5.3]], scale_atoms=True)
    return skewed


def _boxed():
    boxed = molecule('CO', cell=[9.0, 9.0, 9.0], pbc=True)
    boxed.center()
    return boxed


STRUCTURES = {
    'alloy': _alloy(),
    'slab with adsorbate': _slab(),
    'molecule': molecule('CO2', cell=[1.0, 1.0, 1.0]),
    'molecule in a periodic box': _boxed(),
    'sheet': graphene('C2', size=(2, 1, 1), vacuum=5.0),
    'wire': nanotube(3, 0, length=1),
    'primitive cell': bulk('Cu'),
    'skewed cell': _skewed(),
    'single atom': Atoms('Au', cell=[1.0, 1.0, 1.0]),
    'cluster of more atoms than a block': Octahedron('Cu', 5),
}
STRUCTURES['sheet'].cell[2] = [0.0, 0.0, 12.0]
STRUCTURES['wire'].cell[:2] = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]
STRUCTURES['cluster of more atoms than a block'].cell[:] = np.eye(3)


def test_the_structures_cover_all_periodicities_and_several_blocks():
    assert {tuple(map(bool, atoms.pbc)) for atoms in STRUCTURES.values()} == {
        (True, True, True),
        (True, True, False),
        (False, False, True),
        (False, False, False),
    }
    assert max(map(len, STRUCTURES.values())) > N_CENTRES


@pytest.mark.parametrize('compression', COMPRESSIONS)
@pytest.mark.parametrize('name', STRUCTURES)
def test_features_agree_with_dscribe(name, compression):
    ours, reference = both(compression)
    atoms = STRUCTURES[name]
    agree(ours.average(atoms)[None], reference(atoms, 'outer'))
    agree(ours.environments(atoms), reference(atoms, 'off'))


@pytest.mark.parametrize('compression', COMPRESSIONS)
@pytest.mark.parametrize('species', [[29], [29, 79], [8, 29, 78, 79]])
def test_the_order_of_features_agrees_with_dscribe_for_any_number_of_elements(compression, species):
    ours, reference = both(compression, species=species)
    atoms = bulk('Cu', cubic=True)
    atoms.numbers[:] = (species * 4)[:4]
    atoms.rattle(0.1, seed=2)
    agree(ours.average(atoms)[None], reference(atoms, 'outer'))


@pytest.mark.parametrize(
    'settings',
    [
        {'n_max': 8, 'l_max': 6, 'r_cut_A': 5.0},
        {'n_max': 1, 'l_max': 0},
        {'n_max': 3, 'l_max': 1},
        {'n_max': 2, 'l_max': 20},
        {'r_cut_A': 7.0, 'sigma_A': 0.2},
        {'r_cut_A': 2.0, 'n_max': 3, 'sigma_A': 1.0},
    ],
    ids=str,
)
def test_features_agree_with_dscribe_for_any_basis(settings):
    ours, reference = both(**settings)
    agree(ours.average(_alloy())[None], reference(_alloy(), 'outer'))


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_the_average_is_the_mean_of_the_environments(compression):
    ours, _ = both(compression)
    averaged, environments = ours.average(_alloy()), ours.environments(_alloy())
    np.testing.assert_allclose(averaged, environments.mean(axis=0), rtol=1e-9, atol=1e-12 * abs(averaged).max())


@pytest.mark.filterwarnings('ignore:An ill-conditioned matrix')
def test_linearly_dependent_radial_functions_are_refused():
    with refused(Code.OUT_OF_RANGE, '16', '5.0 Å', 'n_max'):
        both(n_max=16, r_cut_A=5.0)
