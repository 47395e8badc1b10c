"""Built-in queries about a stored campaign, with the same results from SQLite and PostgreSQL."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aiida import orm
from aiida.manage import get_manager
from aiida.manage.configuration import create_profile, get_config, profile_context
from support.errors import refused
from support.postgres import postgres_server
from support.stored import import_campaign

from aiida_mlip_autopipe.campaigns.history.explain import explain_campaign
from aiida_mlip_autopipe.campaigns.history.frames import find_frames, find_rows
from aiida_mlip_autopipe.campaigns.history.queries import count_jobs, find_crashes, measure_costs
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.plain import to_plain
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.workflows.graph import load_campaign

pytestmark = pytest.mark.integration

ARCHIVE = Path(__file__).parents[1] / 'stored' / 'campaign_1.aiida'
# Nodes have other pks in another profile.
PKS = ('trajectory', 'dataset', 'job')


@pytest.fixture(scope='module')
def campaign(aiida_profile):
    return import_campaign(ARCHIVE)


def test_frames_are_found_by_force_and_composition(campaign):
    frames = find_frames(campaign)
    assert len(frames) == 30
    assert sorted(set(frames['composition'])) == ['Al', 'AuCu3']
    limit = float(frames['max_force_eV_A'].median())
    strong = find_frames(campaign, min_force_eV_A=limit)
    assert list(strong['max_force_eV_A']) == [force for force in frames['max_force_eV_A'] if force >= limit]
    assert 0 < len(strong) < 30
    first = strong.iloc[0]
    trajectory = trajectory_from_node(orm.load_node(int(first['trajectory'])))
    assert trajectory.steps[first['frame']] == first['step']
    assert np.linalg.norm(trajectory.forces[first['frame']], axis=1).max() == pytest.approx(first['max_force_eV_A'])
    alloy = find_frames(campaign, composition='Cu6Au2')
    assert (set(alloy['composition']), len(alloy)) == ({'AuCu3'}, 20)


def test_rows_are_found_by_force_and_composition(campaign):
    rows = find_rows(campaign)
    assert list(rows['row']) == list(range(1, 9))
    assert sorted(rows['split']) == ['test'] * 2 + ['train'] * 6
    aluminium = find_rows(campaign, composition='Al4')
    assert 0 < len(aluminium) < 8
    assert set(aluminium['kind']) == {'structures'}
    limit = float(rows['max_force_eV_A'].max())
    assert len(find_rows(campaign, min_force_eV_A=limit)) == 1


def test_jobs_are_counted_by_calculator_and_version(campaign):
    jobs = count_jobs(campaign).set_index('calculator')
    assert jobs['n_jobs'].to_dict() == {'emt': 3, 'lj': 3}
    assert jobs['n_failed'].sum() == 0
    assert (jobs['calculator_version'] != '').all()
    costs = measure_costs(campaign).set_index('stage')
    assert costs['core_hours'].sum() == pytest.approx(jobs['core_hours'].sum())
    assert list(costs.index) == ['generation', 'exploration', 'committee', 'sampling', 'storage']


def test_a_campaign_without_crashes_has_none(campaign):
    crashes = find_crashes(campaign)
    assert (len(crashes), list(crashes.columns)[:2]) == (0, ['campaign', 'seed_id'])


def test_a_wrong_formula_or_campaign_is_refused(campaign):
    for formula in ('Xy2', 'Cu3(', ''):
        with refused(Code.FORMULA_INVALID, repr(formula)):
            find_frames(campaign, composition=formula)
    with refused(Code.CAMPAIGN_MISSING, 'nowhere'):
        find_rows('nowhere')


def answers(campaign):
    """Return the answers to all questions, without pks."""
    frames = [
        find_frames(campaign, min_force_eV_A=0.5),
        find_rows(campaign, composition='Cu3Au'),
        find_crashes(campaign),
        count_jobs(campaign),
        measure_costs(campaign),
    ]
    explained = to_plain(explain_campaign(load_campaign(campaign)))
    explained['progress'].pop('pk')
    return [one.drop(columns=[name for name in PKS if name in one]) for one in frames], explained


@pytest.mark.long
def test_sqlite_and_postgresql_give_the_same_answers(campaign, aiida_profile, tmp_path):
    frames, explained = answers(campaign.uuid)
    with postgres_server() as settings:
        settings['repository_uri'] = (tmp_path / 'repository').as_uri()
        create_profile(
            get_config(), name='postgres', email='a@b.c', storage_backend='core.psql_dos', storage_config=settings
        )
        with profile_context('postgres', allow_switch=True):
            assert get_manager().get_profile().storage_backend == 'core.psql_dos'
            others, explained_there = answers(import_campaign(ARCHIVE).uuid)
            get_manager().reset_profile()
    for one, other in zip(frames, others, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert json.dumps(explained, sort_keys=True) == json.dumps(explained_there, sort_keys=True)
