"""The status of campaigns, read from the graph."""

import json

import pytest
from support.errors import refused

from aiida_mlip_autopipe.campaigns.progress import list_progress, raise_if_failed, read_progress, watch_campaign
from aiida_mlip_autopipe.campaigns.status import read_status
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.plain import to_json

pytestmark = pytest.mark.integration


def test_the_status_of_a_finished_campaign_is_plain_data(tiny_campaign):
    plain = json.loads(to_json(read_status(tiny_campaign)))
    progress = plain['progress']
    assert (progress['pk'], progress['uuid']) == (tiny_campaign.pk, tiny_campaign.uuid)
    assert (progress['stage'], progress['failure']) == ('finished', None)
    counts = {name: progress[f'n_{name}'] for name in ('seeds', 'succeeded', 'failed', 'running', 'waiting')}
    assert counts == {'seeds': 3, 'succeeded': 3, 'failed': 0, 'running': 0, 'waiting': 0}
    assert progress['elapsed_s'] == (tiny_campaign.mtime - tiny_campaign.ctime).total_seconds()
    assert progress['remaining_s'] == 0
    assert progress['started'] == tiny_campaign.ctime.astimezone().isoformat()
    assert progress['warnings'] == tiny_campaign.outputs.selection_report['warnings']
    assert (plain['failed_explorations'], plain['full_trajectories']) == ([], None)


def test_the_list_shows_the_same_progress_and_watching_ends_with_the_campaign(tiny_campaign):
    progress = read_progress(tiny_campaign)
    assert progress in list_progress()
    assert list(watch_campaign(tiny_campaign)) == [progress]
    raise_if_failed(progress)


def test_the_status_of_a_failed_campaign_lists_its_failed_explorations_with_reasons(run_campaign):
    campaign = run_campaign(
        generation=[{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.1}}],
        exploration={'n_steps': 20, 'guards': {'force_eV_per_A': 0.3}, 'recovery': {'max_recoveries': 0}},
    )
    status = read_status(campaign)
    assert status.progress.stage == 'failed'
    assert status.progress.n_failed == 1
    (exploration,) = status.failed_explorations
    assert (exploration.exit_status, exploration.pk) == (campaign.called[-1].exit_status, campaign.called[-1].pk)
    assert '0.3' in exploration.reason
    with refused(Code.CAMPAIGN_FAILED, str(campaign.pk), f'verdi process report {campaign.pk}'):
        raise_if_failed(status.progress)


def test_discarded_seeds_are_reported_and_do_not_wait(run_campaign, monkeypatch):
    entry = {'kind': 'structures', 'files': ['al.xyz']}
    campaign = run_campaign(generation=[entry, entry | {'perturb': {'supercell': [1, 1, 2]}}])
    progress = read_progress(campaign)
    assert progress.n_seeds == progress.n_succeeded + 1
    assert any('generation[1]' in warning and '1 discarded' in warning for warning in progress.warnings)
    monkeypatch.setattr('aiida_mlip_autopipe.campaigns.progress._stage', lambda *_: 'exploration')
    assert read_progress(campaign).n_waiting == 0
