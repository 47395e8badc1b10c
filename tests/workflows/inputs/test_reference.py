"""The reference dataset of a campaign is a node, which is created at submission."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessState
from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import FromCampaign
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.inputs.reference import reference_dataset

pytestmark = pytest.mark.integration


def extend(reference):
    return {'kind': 'fps', 'n_structures': 5, 'reference_dataset': reference}


def hits(campaign, name):
    nodes = sorted(campaign.called_descendants, key=lambda node: node.pk)
    return [node.base.caching.is_created_from_cache for node in nodes if node.process_label == name]


def test_a_reference_dataset_may_be_moved_after_submission(run_campaign, campaign_folder):
    path = campaign_folder / 'reference.traj'
    bulk('Pt', cubic=True).write(path)
    sections = {'sampling': extend(path.name), 'execution': {'reuse_finished': True}}
    campaign = run_campaign(lambda _: path.rename(campaign_folder / 'renamed.traj'), **sections)
    assert campaign.is_finished_ok, campaign.exit_message
    (selecting,) = (node for node in campaign.called if node.process_label == 'select_frames')
    assert selecting.inputs.reference_dataset.uuid == campaign.inputs.reference_dataset.uuid
    assert campaign.outputs.selection_report['n_reference'] == 1
    # The path is not hashed, so the same content at another path gives the same selection.
    assert 'reference_dataset' not in campaign.inputs.sampling.get_dict()
    again = run_campaign(**{**sections, 'sampling': extend('renamed.traj')})
    assert hits(again, 'select_frames') == [True]
    bulk('Au', cubic=True).write(campaign_folder / 'renamed.traj')
    assert hits(run_campaign(**{**sections, 'sampling': extend('renamed.traj')}), 'select_frames') == [False]


def test_a_campaign_extends_the_dataset_of_an_earlier_one(tiny_campaign, run_campaign):
    campaign = run_campaign(sampling=extend({'campaign': tiny_campaign.pk}), execution={'reuse_finished': True})
    assert campaign.is_finished_ok, campaign.exit_message
    assert campaign.inputs.reference_dataset.uuid == tiny_campaign.outputs.dataset.uuid
    report = campaign.outputs.selection_report.get_dict()
    assert report['n_reference'] == report['discarded']['reference_dataset'] == 10
    assert report['reference_label_sources'] == tiny_campaign.outputs.dataset.base.attributes.get('label_sources')
    assert np.isfinite(campaign.outputs.selection.get_array('distance')).all()


def test_an_earlier_campaign_is_found_by_its_pk_or_uuid(tiny_campaign):
    for identifier in (str(tiny_campaign.pk), tiny_campaign.uuid):
        found = reference_dataset(FromCampaign(campaign=identifier), 'sampling')
        assert found.uuid == tiny_campaign.outputs.dataset.uuid


@pytest.mark.parametrize(('state', 'status'), [(ProcessState.RUNNING, None), (ProcessState.FINISHED, 401)])
def test_a_campaign_without_a_dataset_is_refused(aiida_profile, state, status):
    node = orm.WorkChainNode(process_type=DatasetWorkChain.build_process_type(), label=f'unfinished_{state.value}')
    node.set_process_state(state)
    if status:
        node.set_exit_status(status)
        node.set_exit_message('1 of 9 explorations succeeded')
    node.store()
    with refused(Code.DATASET_MISSING, 'sampling.reference_dataset:', node.label):
        reference_dataset(FromCampaign(campaign=node.label), 'sampling')


def test_an_unknown_campaign_and_a_node_of_another_type_are_refused(aiida_profile):
    with refused(Code.CAMPAIGN_MISSING, 'sampling.reference_dataset:', "'nobody'"):
        reference_dataset(FromCampaign(campaign='nobody'), 'sampling')
    other = orm.Int(3).store()
    with refused(Code.CAMPAIGN_MISSING, 'sampling.reference_dataset:', f"'{other.pk}'"):
        reference_dataset(FromCampaign(campaign=str(other.pk)), 'sampling')
