"""The jobs of a campaign, including the selection job, which the campaign calls directly."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ProcessState

from aiida_mlip_autopipe.workflows.graph import (
    CAMPAIGN,
    EXPLORATION_JOB,
    LABELLING,
    RECOVERY,
    RESUMES,
    ROUNDS,
    STOP_REQUESTED,
    find_jobs,
    find_rounds,
    is_stop_requested,
    last_resumed,
    later_campaigns,
    list_campaigns,
    load_campaign,
    why_ended,
)
from aiida_mlip_autopipe.workflows.paused import ENDED, find_paused

LINKS = {orm.WorkChainNode: LinkType.CALL_WORK, orm.CalcJobNode: LinkType.CALL_CALC}
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
    (paused,) = find_paused([node.pk])
    computer = jobs['own'].computer
    assert (paused.pk, paused.folder) == (jobs['own'].pk, f'{computer.label}:{computer.get_workdir()}')
    jobs['own'].set_remote_workdir('/scratch/ab/cd')
    (paused,) = find_paused([node.pk])
    assert paused.folder == f'{computer.label}:/scratch/ab/cd'


def test_the_last_leg_explains_why_an_exploration_ended_and_otherwise_its_own_message_or_state(emt_code):
    def end(node, label, state, message=None, caller=None):
        if message is not None:
            node.set_exit_message(message)
        return call(node, caller or campaign, label, LINKS[type(node)], state)

    campaign = orm.WorkChainNode().store()
    stopped = end(orm.WorkChainNode(), 'stopped', ProcessState.FINISHED, 'stopped')
    killed = end(orm.WorkChainNode(), 'killed', ProcessState.KILLED)
    for number, (process_type, message) in enumerate(
        ((EXPLORATION_JOB, 'out of walltime'), (RECOVERY, 'unstable'), ('another.job', 'not evaluated'))
    ):
        job = orm.CalcJobNode(computer=emt_code.computer, process_type=process_type)
        end(job, f'iteration_{number}', ProcessState.FINISHED, message, stopped)
    job = orm.CalcJobNode(computer=emt_code.computer, process_type=EXPLORATION_JOB)
    end(job, 'iteration_01', ProcessState.KILLED, None, killed)
    assert why_ended([stopped.pk, killed.pk]) == {stopped.pk: 'unstable', killed.pk: 'killed'}
    assert why_ended([]) == {}


def test_the_labelling_of_a_campaign_is_not_taken_for_a_later_campaign(aiida_profile):
    """The labelling of a campaign names the campaign whose killed jobs it recovers, as the campaign itself does."""

    def store(process_type, resumes=None, caller=None):
        node = orm.WorkChainNode(process_type=process_type)
        node.set_metadata_inputs({} if resumes is None else {RESUMES: resumes.uuid})
        return node.store() if caller is None else call(node, caller, 'label_dataset', LinkType.CALL_WORK)

    stopped = store(CAMPAIGN)
    later = store(CAMPAIGN, stopped)
    store(LABELLING, stopped, caller=later)
    assert [node.pk for node in later_campaigns(stopped)] == [later.pk]
    assert last_resumed(stopped).pk == later.pk
    run = store(LABELLING)
    assert last_resumed(run).pk == run.pk
    assert last_resumed(store(LABELLING, run)).pk == last_resumed(run).pk


def test_a_request_to_stop_a_campaign_reaches_all_work_chains_below_it(campaign):
    node, jobs = campaign
    inner = jobs['inner'].caller
    assert not is_stop_requested(inner.pk)
    node.base.extras.set(STOP_REQUESTED, True)
    assert is_stop_requested(inner.pk)
    assert is_stop_requested(node.pk)


def test_the_rounds_of_a_campaign_are_not_listed_as_campaigns():
    campaign = orm.WorkChainNode(process_type=ROUNDS, label='campaign with rounds').store()
    rounds = [
        call(orm.WorkChainNode(process_type=CAMPAIGN), campaign, f'round_{number}', LinkType.CALL_WORK)
        for number in (1, 2)
    ]
    alone = orm.WorkChainNode(process_type=CAMPAIGN).store()
    listed = {node.pk for node in list_campaigns()}
    assert {alone.pk, campaign.pk} <= listed
    assert not {node.pk for node in rounds} & listed
    assert [node.pk for node in find_rounds(campaign)] == [node.pk for node in rounds]
    assert load_campaign('campaign with rounds').pk == campaign.pk
