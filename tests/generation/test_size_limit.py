"""A request for too many atoms is refused before the structure is built."""

from __future__ import annotations

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.limits import check_size, size_limit
from aiida_mlip_autopipe.generation.particles.clusters import FAMILIES, family_size, make_family

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
OXIDE = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}}
MOS2 = {'kind': 'layered', 'structure': '2H', 'sites': {'M': 'Mo', 'X': 'S'}}
SLAB = {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]]}
GARNET = {'kind': 'ion_conductor', 'prototype': 'garnet', 'sites': {'M': 'Li', 'A': 'La', 'B': 'Zr', 'X': 'O'}}
LAVES = {'kind': 'intermetallic', 'prototype': 'L2_1', 'sites': {'A': 'Mn', 'B': 'Ni', 'C': 'Al'}}
ICOSAHEDRON = {'kind': 'cluster', 'of': COPPER, 'shape': 'icosahedron'}
ENERGIES = [{'miller': [1, 1, 1], 'energy_J_m2': 1.3}]


@pytest.mark.parametrize(
    ('entry', 'n_atoms'),
    [
        ({**COPPER, 'supercell': [300, 300, 300]}, 108_000_000),
        ({**COPPER, 'n_atoms': 100_000_000}, 100_000_000),
        ({**COPPER, 'perturb': {'supercell': [300, 300, 300]}}, 108_000_000),
        ({**OXIDE, 'supercell': [300, 300, 300]}, 216_000_000),
        ({'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'C'}, 'supercell': [300] * 3}, 216_000_000),
        ({'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}, 'n_layers': 10_000_000}, 20_000_000),
        ({**LAVES, 'supercell': [300, 300, 300]}, 432_000_000),
        ({**GARNET, 'supercell': [200, 200, 200]}, 192 * 200**3),
        ({**MOS2, 'supercell': [5000, 5000, 1]}, 75_000_000),
        ({**MOS2, 'n_layers': 10_000_000}, 30_000_000),
        ({**MOS2, 'n_layers': 2, 'twist': [2000, 2001]}, 6 * (2000**2 + 2000 * 2001 + 2001**2)),
        ({**SLAB, 'thickness_A': 1e8}, None),
        ({**SLAB, 'n_layers': 50_000_000}, 50_000_000),
        ({**SLAB, 'n_planes': 50_000_000}, 50_000_000),
        ({**SLAB, 'supercell': [5000, 5000]}, None),
        ({'kind': 'defect', 'of': {**COPPER, 'supercell': [300] * 3}, 'vacancies': {'Cu': 1}}, 108_000_000),
        ({'kind': 'grain_boundary', 'of': COPPER, 'sigmas': [5], 'thickness_A': 1e8}, None),
        ({'kind': 'stacking_fault', 'of': COPPER, 'thickness_A': 1e8}, None),
        ({'kind': 'stacking_fault', 'of': COPPER, 'faults': ['intrinsic'], 'thickness_A': 1e8}, None),
        ({'kind': 'dislocation', 'of': COPPER, 'separation_A': 10_000}, None),
        ({**ICOSAHEDRON, 'n_shells': 1000}, 3_338_337_001),
        ({**ICOSAHEDRON, 'shape': 'decahedron', 'n_atoms': 1_000_000_000}, 1_000_000_000),
        ({**ICOSAHEDRON, 'shape': 'octahedron', 'diameter_A': 10_000}, None),
        ({**ICOSAHEDRON, 'shape': 'wulff', 'n_atoms': 1_000_000_000, 'surface_energies': ENERGIES}, 1_000_000_000),
        ({**ICOSAHEDRON, 'shape': 'random', 'n_atoms': 1_000_000_000}, 1_000_000_000),
        ({**ICOSAHEDRON, 'shape': 'wire', 'axis': [1, 1, 0], 'diameter_A': 100_000}, None),
        ({'kind': 'molecular', 'molecules': [{'name': 'H2O', 'count': 30_000_000}], 'density_g_per_cm3': 1.0},
         90_000_000),
        ({'kind': 'amorphous', 'composition': {'Cu': 1}, 'density_g_per_cm3': 8.0, 'n_atoms': 100_000_000},
         100_000_000),
    ],
)  # fmt: skip
def test_a_request_for_too_many_atoms_is_refused_before_they_are_built(generate, entry, n_atoms):
    with refused(Code.TOO_MANY_ATOMS, 'validation.max_atoms', '500', *([str(n_atoms)] if n_atoms else [])):
        generate({**entry, 'n_seeds': 1})


def test_the_limit_of_the_entry_applies_to_requested_structures(generate):
    entry = {**COPPER, 'supercell': [5, 5, 6]}
    (seed,) = generate({**entry, 'validation': {'max_atoms': 600}}).seeds
    assert len(seed.atoms) == 600
    with refused(Code.TOO_MANY_ATOMS, '600', '599'):
        generate({**entry, 'validation': {'max_atoms': 599}})


@pytest.mark.parametrize('thickness_A', [3.0, 10.0, 25.0])
def test_no_slab_with_few_enough_atoms_is_refused(generate, thickness_A):
    for miller in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 0]):
        slab = {**SLAB, 'miller_indices': [miller], 'thickness_A': thickness_A}
        (seed,) = generate(slab).seeds
        assert generate({**slab, 'validation': {'max_atoms': len(seed.atoms)}}).seeds


@pytest.mark.parametrize('shape', FAMILIES)
def test_the_number_of_atoms_of_a_family_is_known_before_it_is_made(shape):
    assert [family_size(shape, n) for n in (1, 2, 3)] == [len(make_family(shape, n, 4.0)) for n in (1, 2, 3)]


def test_without_a_block_no_size_is_refused():
    check_size(1e9, 'a request')
    with size_limit(10), refused(Code.TOO_MANY_ATOMS, 'a request', '11', '10'):
        check_size(11, 'a request')
