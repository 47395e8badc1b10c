"""Campaigns with several kinds of entries, from the config to the dataset."""

from collections import Counter

import numpy as np
import pytest
from aiida import orm

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.storage import Dataset, SplitSettings, split_rows
from aiida_mlip_autopipe.structures.seed import fixed_mask

pytestmark = pytest.mark.integration

SMALL = {'min_width_factor': 0.4}
COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
THIN_SLAB = {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]], 'thickness_A': 6, 'vacuum_A': 8,
             'fixed_layers': 1}  # fmt: skip
ENTRIES = {
    'alloy': {'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 8, 'n_seeds': 2},
    'surface': {name: value for name, value in THIN_SLAB.items() if name != 'kind'},
    'grain_boundary': {'of': COPPER, 'characters': ['twist'], 'thickness_A': 3, 'magnetic_moments': {'Cu': 0.6}},
    'interface': {
        'film': {**COPPER, 'composition': {'Ni': 1.0}},
        'substrate': COPPER,
        'film_miller': [1, 1, 1],
        'substrate_miller': [1, 1, 1],
        'film_n_layers': 2,
        'substrate_n_layers': 2,
        'vacuum_A': 8,
    },
    'defect': {'of': {**COPPER, 'composition': {'Al': 1.0}}, 'vacancies': {'Al': 1}, 'n_seeds': 1},
    'adsorption': {'of': THIN_SLAB, 'molecules': ['O'], 'sites': ['ontop'], 'n_seeds': 1},
    'cluster': {'of': COPPER, 'shape': 'icosahedron', 'n_shells': 1},
    'layered': {'structure': 'honeycomb', 'sites': {'A': 'C'}, 'n_layers': 2},
}


def test_the_dataset_of_a_campaign_with_eight_kinds_has_rows_of_each(run_campaign, tmp_path):
    entries = [{'kind': kind, 'validation': SMALL, **fields} for kind, fields in ENTRIES.items()]
    campaign = run_campaign(
        generation=entries, exploration={'temperature_K': 300, 'n_steps': 10}, sampling={'n_structures': 20}
    )
    assert campaign.is_finished_ok, campaign.exit_message
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    assert all(node.is_finished_ok for node in explorations)
    explored = Counter(node.inputs.job.seed.to_seed().record['kind'] for node in explorations)
    assert explored == {
        'alloy': 2,
        'surface': 1,
        'grain_boundary': 1,
        'defect': 1,
        'adsorption': 1,
        'cluster': 1,
        'layered': 1,
        'interface': 1,
    }
    write_dataset(campaign, tmp_path / 'mixed.db')
    with Dataset(tmp_path / 'mixed.db') as dataset:
        rows = list(dataset.query())
    assert len(rows) == 20
    assert {orm.load_node(row.provenance.exploration).inputs.seed.to_seed().record['kind'] for row in rows} == set(
        ENTRIES
    )
    for row in rows:
        seed = orm.load_node(row.provenance.exploration).inputs.seed.to_seed().atoms
        # The fixed atoms of surfaces did not move and are fixed in the dataset; no other atoms are fixed.
        fixed = fixed_mask(row.atoms)
        assert fixed.any() == (row.data['seed']['kind'] in ('surface', 'adsorption'))
        assert np.array_equal(fixed, fixed_mask(seed))
        moved = np.linalg.norm(row.atoms.positions - seed.positions, axis=1)
        assert (moved[fixed] < 1e-9).all()
        assert (moved[~fixed] > 1e-6).any() == (row.provenance.step > 0)
        # The seed and the row have the requested moments.
        expected = 0.6 * (row.data['seed']['kind'] == 'grain_boundary')
        assert (seed.get_initial_magnetic_moments() == expected).all()
        assert (row.atoms.get_initial_magnetic_moments() == expected).all()


def test_amorphous_solids_and_molecules_go_through_a_campaign(run_campaign, tmp_path):
    molecules = [{'name': 'N2', 'count': 3}, {'name': 'CO', 'count': 2}]
    entries = [
        {'kind': 'amorphous', 'label': 'glass', 'composition': {'Cu': 1, 'Au': 1}, 'volume_per_atom_A3': 15}
        | {'n_atoms': 24},
        {'kind': 'molecular', 'molecules': molecules, 'density_g_per_cm3': 0.5},
    ]
    campaign = run_campaign(
        generation=[{**entry, 'n_seeds': 1, 'validation': SMALL} for entry in entries],
        exploration={'temperature_K': 300, 'n_steps': 10, 'frame_interval': 2},
        sampling={'kind': 'stratified', 'by': 'label', 'within': {'kind': 'stride'}, 'n_structures': 8},
    )
    assert campaign.is_finished_ok, campaign.exit_message
    strata = campaign.outputs.selection_report['strata']
    assert [stratum['stratum'] for stratum in strata] == ['glass', 'unlabelled']
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    ensembles = {
        node.inputs.job.seed.to_seed().record['kind']: node.outputs.result['ensemble'] for node in explorations
    }
    assert ensembles == {'amorphous': 'npt', 'molecular': 'nvt'}
    write_dataset(campaign, tmp_path / 'disordered.db')
    with Dataset(tmp_path / 'disordered.db') as dataset:
        rows = list(dataset.query())
    assert {row.data['seed']['kind'] for row in rows} == set(ensembles)
    for row in rows:
        if row.data['seed']['kind'] == 'molecular':
            # The rows record which atoms form a molecule.
            assert row.atoms.get_tags().tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
            assert row.data['seed']['molecular'] is True
            assert all(row.atoms.get_distance(first, first + 1) < 2 for first in range(0, 10, 2))


def test_a_held_out_kind_is_the_stored_test_set(run_campaign, tmp_path):
    sampling = {'kind': 'random', 'n_structures': 10, 'test_fraction': 0.3, 'held_out_kinds': ['structures']}
    campaign = run_campaign(sampling=sampling)
    assert campaign.is_finished_ok, campaign.exit_message
    write_dataset(campaign, tmp_path / 'held.db')
    with Dataset(tmp_path / 'held.db') as dataset:
        rows = list(dataset.query())
    result = split_rows(rows, SplitSettings(by='stored'), random_seed=0)
    kinds = Counter((row.data['seed']['kind'], split) for row, split in zip(rows, result.splits, strict=True))
    assert kinds == {('alloy', 'train'): 7, ('structures', 'test'): 3}
