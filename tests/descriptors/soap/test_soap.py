import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from threadpoolctl import threadpool_limits

from aiida_mlip_autopipe.descriptors.soap.settings import (
    SoapSettings,
    choose_compression,
    describe_environments,
    describe_structures,
)

SMALL = SoapSettings(n_max=4, l_max=3)
BOTH = ('autopipe', 'dscribe')


def describe(*structures, settings=SMALL):
    species = sorted({int(z) for atoms in structures for z in atoms.numbers})
    return describe_structures(structures, len(structures), species, settings)


@pytest.fixture
def alloy(rattled):
    return rattled(1)[0]


def test_the_order_of_the_atoms_does_not_change_the_descriptor(alloy):
    first, second = describe(alloy, alloy[[2, 0, 3, 1]])
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_rotation_does_not_change_the_descriptor(alloy):
    rotated = alloy.copy()
    rotated.rotate(37, (1, 2, 3), rotate_cell=True)
    first, second = describe(alloy, rotated)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_translation_does_not_change_the_descriptor(alloy):
    moved = alloy.copy()
    moved.translate([0.7, 1.9, -3.0])
    first, second = describe(alloy, moved)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_atoms_outside_the_cell_are_equivalent_to_their_images(alloy):
    strayed = alloy.copy()
    strayed.positions[0] += 2 * alloy.cell[0] - 3 * alloy.cell[2]
    first, second = describe(alloy, strayed)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_supercell_has_the_same_descriptor(alloy):
    first, second = describe(alloy, alloy * (2, 1, 1))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_displacement_exchange_and_strain_change_the_descriptor(alloy):
    rattled, exchanged, strained = alloy.copy(), alloy.copy(), alloy.copy()
    rattled.rattle(0.05, seed=1)
    exchanged.numbers = 108 - alloy.numbers
    strained.set_cell(alloy.cell * 1.02, scale_atoms=True)
    features = describe(alloy, rattled, exchanged, strained)
    assert (np.linalg.norm(features[1:] - features[0], axis=1) > 1e-3).all()


def test_vectors_have_unit_length_in_float32(alloy):
    features = describe(alloy, bulk('Cu'))
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_molecules_slabs_and_crystals_are_described_together():
    slab = fcc111('Cu', (1, 1, 2))
    assert not slab.cell[2].any()
    assert np.isfinite(describe(molecule('H2O'), slab, bulk('Cu'), Atoms('Cu'))).all()


def test_cell_vectors_of_directions_that_are_not_periodic_are_ignored():
    free = molecule('H2O')
    boxed = molecule('H2O', cell=[2.0, 2.0, 2.0])
    first, second = describe(free, boxed)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_the_order_of_the_elements_does_not_matter(alloy):
    first, second = (describe_structures([alloy], 1, species, SMALL) for species in ([29, 79], [79, 29]))
    np.testing.assert_array_equal(first, second)


def test_a_descriptor_does_not_depend_on_the_other_structures(rattled, monkeypatch):
    # The structures differ in size and elements, so that an influence of one on another would be visible.
    structures = [*rattled(7), molecule('H2O'), bulk('Cu') * (3, 3, 3), bulk('Au')]
    species = [1, 8, 29, 79]
    together = describe_structures(structures, len(structures), species, SMALL)
    alone = [describe_structures([atoms], 1, species, SMALL)[0] for atoms in reversed(structures)]
    np.testing.assert_array_equal(together, alone[::-1])
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.soap.settings.BLOCK', 3)
    np.testing.assert_array_equal(describe_structures(structures, len(structures), species, SMALL), together)


def test_several_processes_give_the_same_result_as_one(rattled, monkeypatch):
    structures = rattled(7)
    alone = describe(*structures)
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.soap.settings.MANY', 7)
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.soap.settings.BLOCK', 3)
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.soap.settings.PART', 2)
    monkeypatch.setattr('joblib.cpu_count', lambda: 2)
    np.testing.assert_array_equal(describe(*structures), alone)


def test_results_are_bitwise_identical_for_any_number_of_threads(alloy):
    crystal = alloy * (3, 3, 2)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            averaged = describe(crystal, settings=SoapSettings())
            (environments,) = describe_environments([crystal], [29, 79], SoapSettings())
            found.append((averaged.tobytes(), environments.tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ('n_species', 'compression'),
    [
        (1, 'off'),
        (3, 'off'),
        (4, 'mu1nu1'),
        (5, 'mu1nu1'),
        (6, 'crossover'),
        (9, 'crossover'),
        (10, 'mu2'),
        (89, 'mu2'),
    ],
)
def test_the_number_of_elements_determines_the_compression(n_species, compression):
    assert choose_compression(SoapSettings(), n_species) == compression


@pytest.mark.parametrize('compression', ['off', 'mu1nu1', 'crossover', 'mu2'])
def test_all_compressions_distinguish_elements(alloy, compression):
    exchanged = alloy.copy()
    exchanged.numbers = 108 - alloy.numbers
    first, second = describe(alloy, exchanged, settings=SoapSettings(n_max=3, l_max=2, compression=compression))
    assert np.linalg.norm(first - second) > 1e-3


def test_five_elements_have_a_moderate_number_of_features():
    alloy = Atoms('CuAuNiPdPt', positions=2.5 * np.arange(5)[:, None] * [1, 0, 0])
    assert describe(alloy, settings=SoapSettings()).shape[1] == 2240


@pytest.mark.parametrize('computed_by', BOTH)
def test_environments_of_some_atoms_are_those_of_all_atoms(alloy, computed_by):
    structures, settings = [alloy, alloy * (5, 4, 1)], SMALL.model_copy(update={'computed_by': computed_by})
    centres = [np.array([2, 3]), np.array([0, 17, 70, 79])]
    some = describe_environments(structures, [29, 79], settings, centres)
    for atoms, chosen, described in zip(structures, centres, some, strict=True):
        (complete,) = describe_environments([atoms], [29, 79], settings)
        np.testing.assert_allclose(described, complete[chosen], rtol=0, atol=2e-7)


@pytest.mark.parametrize('compression', ['off', 'mu1nu1', 'crossover', 'mu2'])
def test_dscribe_gives_the_same_values(alloy, compression):
    strayed = alloy.copy()
    strayed.positions[0] += 2 * alloy.cell[0]
    structures = [alloy, strayed, fcc111('Au', (1, 1, 2), vacuum=4.0), molecule('H2O')]
    species = [1, 8, 29, 79]
    ours, theirs = (SMALL.model_copy(update={'compression': compression, 'computed_by': name}) for name in BOTH)
    np.testing.assert_allclose(
        describe_structures(structures, 4, species, theirs),
        describe_structures(structures, 4, species, ours),
        atol=1e-6,
    )
    for their, our in zip(*(describe_environments(structures, species, one) for one in (theirs, ours)), strict=True):
        np.testing.assert_allclose(their, our, atol=1e-6)
