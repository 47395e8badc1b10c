"""A campaign with a committee, whose frames are kept by novelty."""

import pytest
from aiida import orm
from aiida.common import LinkType
from ase.build import bulk
from ase.io import write
from rich.console import Console
from support.committees import COPPER

from aiida_mlip_autopipe.calculations.describe_reference import describe_reference
from aiida_mlip_autopipe.campaigns.account import describe_campaign
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.campaigns.status import read_status
from aiida_mlip_autopipe.cli.follow import describe
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.jobs.contract import REFERENCE_FILE
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.workflows import reference_environments

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
# The exploration of an entry can differ, so its settings are a separate input, which a test can change.
RATTLED = {'perturb': {'rattle_A': 0.05}, 'exploration': {'temperature_K': 500}}

COARSE = SoapSettings(n_max=3, l_max=2).model_dump()


def write_copper(path, *lattice_constants):
    write(path, [bulk('Cu', a=a, cubic=True) for a in lattice_constants])


def change_novelty(builder, changes):
    """Change the settings of the novelty of entries, by key, as in inputs that are not made from a config."""
    for key, change in changes.items():
        settings = builder.overrides[key]['exploration'].get_dict()
        settings['novelty'] |= change
        builder.overrides[key]['exploration'] = orm.Dict(settings)


@pytest.fixture
def explore(run_campaign):
    """Return a function that runs a campaign with a reference dataset, and returns it and its first jobs by seed."""

    def run(reference, prepare=None, entries=({},)):
        campaign = run_campaign(
            prepare,
            generation=[COPPER_SEED | {'n_seeds': 1} | entry for entry in entries],
            exploration={'n_steps': 4, 'frame_interval': 2, 'novelty': DISTANCE | {'reference_dataset': reference}},
            sampling={'n_structures': 2},
            reuse=True,
        )
        jobs = [job for job in campaign.called_descendants if job.process_label == 'ExplorationCalculation']
        return campaign, sorted(jobs, key=lambda job: job.inputs.seed.seed_id)

    return run


def reference_calculations(campaign):
    return [node for node in campaign.called if node.process_label == 'describe_reference']


def test_each_job_has_the_environments_for_its_settings(explore, campaign_folder, monkeypatch):
    path, moved = campaign_folder / 'copper.traj', campaign_folder / 'moved.traj'
    write_copper(path, 3.5, 3.6, 3.7)

    def prepare(builder):
        path.rename(moved)
        change_novelty(builder, {'entry_1': {'descriptor': COARSE, 'threshold_quantile': 0.1}})

    campaign, jobs = explore(path.name, prepare, [CU_AU_SEED, RATTLED])
    assert campaign.is_finished_ok, campaign.exit_message
    assert len(jobs) == len(reference_calculations(campaign)) == 2
    for job in jobs:
        novelty = job.inputs.exploration['novelty']
        assert novelty['reference_dataset'] == REFERENCE_FILE
        creator = job.inputs.reference_environments.creator
        assert creator.inputs.reference_dataset.uuid == campaign.inputs.novelty_reference_dataset.uuid
        assert creator.caller.uuid == campaign.uuid
        assert creator.inputs.descriptor.get_dict() == novelty['descriptor']
        assert creator.inputs.threshold_quantile.value == novelty['threshold_quantile']
        assert set(creator.outputs.report['elements']) == job.inputs.seed.get_symbols_set() | {'Cu'}
    table = describe_campaign(campaign)['Reference dataset of the explorations']
    assert table['environments of Cu'] == '12 of 12'
    assert len(table) == 3

    monkeypatch.setattr(reference_environments, 'DESCRIPTORS_VERSION', 'another')
    second, again = explore(moved.name, entries=[CU_AU_SEED])
    assert [job.base.caching.is_created_from_cache for job in again] == [True]
    assert [node.base.caching.is_created_from_cache for node in reference_calculations(second)] == [False]
    write_copper(moved, 3.5, 3.7)
    inputs = dict(creator.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested())
    changed = describe_reference(**inputs | {'reference_dataset': DatasetData.from_file(moved)})['environments']
    hashes = [node.base.caching.compute_hash() for node in (changed, creator.outputs.environments)]
    assert hashes[0] != hashes[1]


def test_explorations_share_environments_and_a_limit_below_the_quantile_ends_the_campaign(explore, campaign_folder):
    write_copper(campaign_folder / 'copper.traj', 3.5, 3.6)
    changes = {'entry_3': {'descriptor': COARSE}, 'entry_4': {'threshold_quantile': 0.1}, 'entry_5': {'limit': 1e-5}}
    entries = [{}, RATTLED, CU_AU_SEED, RATTLED, RATTLED, RATTLED]
    campaign, jobs = explore('copper.traj', lambda builder: change_novelty(builder, changes), entries)
    assert (campaign.exit_status, jobs) == (407, [])
    found = reference_calculations(campaign)
    n_max = [node.inputs.descriptor['n_max'] for node in found]
    used = zip(n_max, (node.inputs.threshold_quantile.value for node in found), strict=True)
    assert sorted(used) == [(3, 0.9), (4, 0.1), (4, 0.9), (4, 0.9)]
    progress = read_status(campaign).progress
    comparisons = progress.comparisons
    assert sorted(one.elements for one in comparisons) == [('Cu',), ('Cu',), ('Cu',), ('Cu', 'Au')]
    assert {one.threshold for one in comparisons} == {node.outputs.report['threshold'] for node in found}
    assert all((one.n_environments, one.n_used) == ({'Cu': 8}, {'Cu': 8}) for one in comparisons)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(describe(progress))
    assert all(f'{one.threshold:.4g}' in shown.get() for one in comparisons)


def test_a_quantile_that_is_zero_because_of_duplicates_ends_the_campaign(explore, campaign_folder):
    write_copper(campaign_folder / 'copper.traj', 3.5, 3.5)
    campaign, jobs = explore('copper.traj')
    assert (campaign.exit_status, jobs) == (407, [])
