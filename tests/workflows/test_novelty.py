"""A campaign with a committee, whose frames are kept by novelty."""

import pytest
from aiida.common import LinkType
from ase.build import bulk
from ase.io import write
from support.committees import COPPER

from aiida_mlip_autopipe.calculations.describe_reference import describe_reference
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs.contract import REFERENCE_FILE
from aiida_mlip_autopipe.storage import Dataset

pytestmark = pytest.mark.integration

NOVELTY = {'kind': 'disagreement', 'threshold_eV_per_A': 0.01, 'limit_eV_per_A': 50, 'always_every': 2}
COPPER_SEED = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'n_atoms': 8, 'validation': {'min_width_factor': 0.4}}


def test_a_biased_campaign_with_a_committee_makes_a_dataset_with_unbiased_labels(run_campaign, emt_code, tmp_path):
    node = run_campaign(
        generation=[COPPER_SEED | {'n_seeds': 1}],
        calculator=COPPER,
        exploration={'n_steps': 10, 'frame_interval': 2, 'novelty': NOVELTY, 'bias': {'strength': 0.1}},
        sampling={'n_structures': 3},
        execution={'code': emt_code.full_label},
    )
    assert node.is_finished_ok, node.exit_message
    (exploration,) = [one for one in node.called if one.process_label == 'ExplorationWorkChain']
    leg = exploration.outputs.legs.leg_01
    assert {'extra_force_deviation_eV_A', 'extra_bias_eV'} <= set(leg.get_arraynames())
    assert exploration.outputs.result['statistics']['novelty']['n'] == 5
    write_dataset(node, tmp_path / 'new.db')
    with Dataset(tmp_path / 'new.db') as dataset:
        rows = list(dataset.query())
    assert rows
    assert {row.provenance.label_source for row in rows} == {'mlip:emt'}


CU_AU_SEED = COPPER_SEED | {'composition': {'Cu': 0.5, 'Au': 0.5}}
DISTANCE = {'kind': 'distance', 'threshold_quantile': 0.9, 'always_every': 1, 'descriptor': {'n_max': 4, 'l_max': 3}}


def write_copper(path, *lattice_constants):
    write(path, [bulk('Cu', a=a, cubic=True) for a in lattice_constants])


@pytest.fixture
def explore(run_campaign, campaign_folder):
    """Return a function that runs a campaign with a reference dataset, and returns it and its first jobs by seed."""

    def run(reference, prepare=None, entries=({},)):
        campaign = run_campaign(
            prepare,
            generation=[COPPER_SEED | {'n_seeds': 1} | entry for entry in entries],
            exploration={'n_steps': 4, 'frame_interval': 2, 'novelty': DISTANCE | {'reference_dataset': reference}},
            sampling={'n_structures': 2},
            reuse=True,
        )
        assert campaign.is_finished_ok, campaign.exit_message
        jobs = [job for job in campaign.called_descendants if job.process_label == 'ExplorationCalculation']
        return campaign, sorted(jobs, key=lambda job: job.inputs.seed.seed_id)

    return run


def test_explorations_share_the_environments_of_a_reference_dataset_that_may_be_moved(explore, campaign_folder):
    path, moved = campaign_folder / 'copper.traj', campaign_folder / 'moved.traj'
    write_copper(path, 3.5, 3.6)
    campaign, jobs = explore(path.name, lambda _: path.rename(moved), [{}, {'perturb': {'rattle_A': 0.05}}, CU_AU_SEED])
    by_elements = {}
    for job in jobs:
        elements = ''.join(sorted(job.inputs.seed.get_symbols_set()))
        by_elements.setdefault(elements, set()).add(job.inputs.reference_environments.uuid)
        assert job.inputs.exploration['novelty']['reference_dataset'] == REFERENCE_FILE
    assert {elements: len(uuids) for elements, uuids in by_elements.items()} == {'Cu': 1, 'AuCu': 1}
    for job in jobs:
        creator = job.inputs.reference_environments.creator
        assert creator.inputs.reference_dataset.uuid == campaign.inputs.novelty_reference_dataset.uuid
        assert creator.caller.uuid == campaign.uuid
    report = creator.outputs.report.get_dict()
    assert (report['n_structures'], report['n_environments'], report['n_used']) == (2, {'Cu': 8}, {'Cu': 8})

    _, again = explore(moved.name)
    assert [job.base.caching.is_created_from_cache for job in again] == [True]
    write_copper(moved, 3.5, 3.7)
    inputs = dict(creator.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested())
    changed = describe_reference(**inputs | {'reference_dataset': DatasetData.from_file(moved)})['environments']
    hashes = [node.base.caching.compute_hash() for node in (changed, creator.outputs.environments)]
    assert hashes[0] != hashes[1]


def test_a_limit_below_the_quantile_ends_the_campaign(run_campaign, campaign_folder):
    write_copper(campaign_folder / 'copper.xyz', 3.5, 3.6)
    novelty = DISTANCE | {'reference_dataset': 'copper.xyz', 'limit': 1e-6}
    campaign = run_campaign(
        generation=[COPPER_SEED | {'n_seeds': 1}], exploration={'n_steps': 4, 'frame_interval': 2, 'novelty': novelty}
    )
    assert campaign.exit_status == 407
