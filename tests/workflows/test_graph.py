"""The jobs of a campaign, including the selection job, which the campaign calls directly."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_mlip_autopipe.workflows.graph import find_jobs
from aiida_mlip_autopipe.workflows.paused import ENDED, find_paused

RUNNING = {'attributes.process_state': {'!in': list(ENDED)}}


def call(node, caller, label, link_type, state=ProcessState.WAITING):
    node.base.links.add_incoming(caller, link_type, label)
    node.set_process_state(state)
    return node.store()


@pytest.fixture
def campaign(emt_code):
    """Return a campaign and four jobs.

    The campaign called the first one, a running work chain the second, a work chain of this one the third, and a work
    chain that has ended the last.
    """
    campaign = orm.WorkChainNode().store()
    jobs = {'own': call(orm.CalcJobNode(computer=emt_code.computer), campaign, 'select_frames', LinkType.CALL_CALC)}
    for name, state in (('running', ProcessState.WAITING), ('ended', ProcessState.FINISHED)):
        chain = call(orm.WorkChainNode(), campaign, f'explore_{name}', LinkType.CALL_WORK, state)
        jobs[name] = call(orm.CalcJobNode(computer=emt_code.computer), chain, 'leg', LinkType.CALL_CALC, state)
        if name == 'running':
            inner = call(orm.WorkChainNode(), chain, 'inner', LinkType.CALL_WORK)
            jobs['inner'] = call(orm.CalcJobNode(computer=emt_code.computer), inner, 'job', LinkType.CALL_CALC)
    return campaign, jobs


def test_jobs_of_the_campaign_and_of_its_work_chains_are_found_by_their_state(campaign):
    node, jobs = campaign
    assert {job.pk for job in find_jobs(node, RUNNING)} == {jobs[name].pk for name in ('own', 'running', 'inner')}
    ended = {'attributes.process_state': {'in': list(ENDED)}}
    assert [job.pk for job in find_jobs(node, ended)] == [jobs['ended'].pk]


def test_a_paused_job_of_the_campaign_itself_is_found(campaign):
    node, jobs = campaign
    jobs['own'].pause()
    assert [paused.pk for paused in find_paused([node.pk])] == [jobs['own'].pk]
