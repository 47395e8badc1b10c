"""The throttle, with stubs as children."""

import asyncio
from collections import Counter

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState
from support.stub_campaign import load_campaign, make_campaign, run_to_end

from aiida_mlip_autopipe.workflows import throttle
from aiida_mlip_autopipe.workflows.graph import STOP_REQUESTED

pytestmark = pytest.mark.usefixtures('aiida_profile')


def max_running(events):
    counts, n = [], 0
    for what, _ in events:
        n += 1 if what == 'start' else -1
        counts.append(n)
    return max(counts)


def test_all_children_run_and_their_number_is_limited():
    campaign = make_campaign('abcdefg', slots=3)
    events = run_to_end(campaign)
    assert Counter(what for what, _ in events) == {'start': 7, 'end': 7}
    assert max_running(events) == 3
    assert sorted(campaign.ctx.ended) == list('abcdefg')


def test_with_one_slot_children_run_one_after_another():
    events = run_to_end(make_campaign('abc', slots=1))
    assert events == [(what, label) for label in 'abc' for what in ('start', 'end')]


def test_a_slot_is_refilled_while_other_children_run():
    def end_the_first_after_the_last_has_started(campaign, label):
        if label == 'b':
            campaign.end('b')
        if label == 'c':
            campaign.end('a')
            campaign.end('c')

    events = run_to_end(make_campaign('abc', 2, end_the_first_after_the_last_has_started))
    assert events.index(('start', 'c')) < events.index(('end', 'a'))


def test_a_campaign_subscribes_once_to_the_end_of_each_child():
    """The children end one by one, so that the campaign waits for each of them several times."""

    def end_the_oldest(campaign, label):
        running = list(campaign.ctx.running)
        for one in running if not campaign.ctx.waiting else running[:1] if len(running) == 5 else []:
            campaign.end(one)

    campaign = make_campaign([f'seed_{number}' for number in range(20)], 5, end_the_oldest)
    events = run_to_end(campaign)
    assert max_running(events) == 5
    assert len(campaign.runner.subscriptions) == len(set(campaign.runner.subscriptions)) == 20


def test_a_campaign_loaded_from_its_checkpoint_subscribes_again_and_continues():
    """The worker dies while two children run, and one of them ends before another worker takes over."""

    def end_the_first(campaign, label):
        if label == 'a':
            campaign.end('a')

    campaign = make_campaign('abcd', 2, end_the_first)

    async def until_the_third_runs():
        task = asyncio.ensure_future(campaign.step_until_terminated())
        while campaign.state != ProcessState.WAITING or 'c' not in campaign.ctx.running:
            await asyncio.sleep(0)
        task.cancel()

    campaign.runner.run_until_complete(asyncio.wait_for(until_the_third_runs(), 60))
    campaign.end('b')

    again = load_campaign(campaign.pid)
    again.loop.call_soon(again.end, 'c')
    run_to_end(again)
    assert sorted(again.ctx.ended) == list('abcd')
    assert again.runner.subscriptions == [again.ctx.ended[label] for label in 'bcd']


def test_a_paused_job_occupies_no_slot(monkeypatch, emt_code):
    monkeypatch.setattr(throttle, 'PAUSED_POLL_S', 0.01)

    def pause_the_first(campaign, label):
        if label == 'a':
            job = orm.CalcJobNode(computer=emt_code.computer)
            job.set_process_state(ProcessState.WAITING)
            job.pause()
            job.base.links.add_incoming(orm.load_node(campaign.ctx.running['a']), LinkType.CALL_CALC, 'job')
            job.store()
        else:
            campaign.end('b')
            campaign.end('a')

    assert run_to_end(make_campaign('ab', 1, pause_the_first))[:2] == [('start', 'a'), ('start', 'b')]


def test_no_child_starts_after_a_user_has_asked_to_stop():
    def stop(campaign, label):
        campaign.node.base.extras.set(STOP_REQUESTED, True)
        campaign.end(label)

    assert run_to_end(make_campaign('abc', 1, stop)) == [('start', 'a'), ('end', 'a')]
