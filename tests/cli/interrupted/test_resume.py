"""Ctrl-C at several points of ``mlip-autopipe resume``."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import ProcessState

from aiida_mlip_autopipe.campaigns import resuming
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

STAGES = ('ensure_daemon', 'refuse_changed_inputs', 'stop_leftovers', 'resumed_builder', 'submit')


@pytest.fixture
def stages(aiida_profile, monkeypatch):
    """Replace the stages, which need a daemon and the jobs of a campaign; return the names of those that were run."""
    done = []

    def replace(name):
        def run(*arguments, **options):
            done.append(name)
            return campaign

        monkeypatch.setattr(resuming, name, run)

    campaign = orm.WorkChainNode(label='copper', process_type=CAMPAIGN)
    campaign.set_process_state(ProcessState.KILLED)
    campaign.store()
    for name in STAGES:
        replace(name)
    return campaign, done


@pytest.mark.parametrize('stage', STAGES[:-2])
def test_ctrl_c_before_the_submission_submits_nothing(stages, folder, run_interrupted, interrupt, stage):
    campaign, done = stages
    interrupt(resuming, stage, 'after')
    assert 'submitted' not in run_interrupted('resume', campaign.pk)
    assert done == list(STAGES[: STAGES.index(stage) + 1])


@pytest.mark.parametrize('when', ['before', 'after'])
def test_the_id_is_printed_if_the_campaign_is_submitted(stages, folder, run_interrupted, interrupt, when):
    campaign, done = stages
    interrupt(resuming, 'submit', when)
    assert f'submitted again, id {campaign.pk}' in run_interrupted('resume', campaign.pk)
    assert done == list(STAGES)
