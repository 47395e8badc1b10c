import numpy as np
import pytest
from aiida.orm import load_node
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms, FixBondLength

from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.structures.seed import Seed


@pytest.fixture
def slab_seed():
    slab = fcc111('Cu', (2, 2, 3), vacuum=8.0)
    slab.set_tags(range(len(slab)))
    slab.set_initial_magnetic_moments(np.linspace(0, 1, len(slab)))
    slab.set_constraint(FixAtoms(indices=[0, 1, 2, 3]))
    slab.rattle(0.1, seed=1)
    return Seed(slab, {'kind': 'surface', 'parent': 'abc', 'strain': 1 / 3 + 1e-16})


def test_a_stored_seed_is_exact_to_the_last_bit(slab_seed):
    node = load_node(SeedData.from_seed(slab_seed).store().pk)
    back = node.to_seed()
    for name, array in slab_seed.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], array)
        assert back.arrays()[name].dtype == array.dtype
    assert back.record == slab_seed.record
    assert back.seed_id == node.seed_id == slab_seed.seed_id


def test_seeds_have_the_same_hash_only_if_they_are_equal_to_the_last_bit(slab_seed):
    node = SeedData.from_seed(slab_seed).store()
    again = SeedData.from_seed(slab_seed).store()
    assert node.base.caching.get_hash() == again.base.caching.get_hash()
    moved = slab_seed.atoms.copy()
    moved.positions[5, 0] = np.nextafter(moved.positions[5, 0], np.inf)
    other = SeedData.from_seed(Seed(moved, slab_seed.record)).store()
    assert other.base.caching.get_hash() != node.base.caching.get_hash()
    assert other.seed_id != node.seed_id


def test_the_record_of_a_seed_is_part_of_its_identity(slab_seed):
    other = Seed(slab_seed.atoms, {**slab_seed.record, 'kind': 'defect'})
    assert other.seed_id != slab_seed.seed_id


def test_seeds_can_be_queried_by_kind_and_parent(slab_seed):
    from aiida.orm import QueryBuilder

    node = SeedData.from_seed(slab_seed).store()
    query = QueryBuilder().append(SeedData, filters={'attributes.kind': 'surface', 'attributes.parent': 'abc'})
    assert node.pk in [found.pk for found in query.all(flat=True)]


def test_a_constraint_that_jobs_do_not_support_is_refused():
    atoms = bulk('Cu', cubic=True)
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ValueError, match=r'FixAtoms.*FixBondLengths'):
        SeedData.from_seed(Seed(atoms, {}))
