"""A campaign that queries a database. A local server replaces the database."""

from __future__ import annotations

import pytest
from support.optimade_server import serve, structure

pytestmark = pytest.mark.integration

FILTER = 'elements HAS ALL "Au", "Cu" AND nelements=2'
ANSWER = [structure('a-2', ['Cu', 'Au']), structure('a-1', ['Cu', 'Cu', 'Cu', 'Au'], a_A=6.0)]


def test_the_graph_stores_the_answer_as_a_file_and_the_query_in_the_config(run_campaign, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with serve({FILTER: ANSWER}) as address:
        query = {'provider': address, 'elements': ['Cu', 'Au']}
        entry = {'kind': 'structures', 'query': query, 'perturb': {'rattle_A': 0.02}}
        campaigns = [run_campaign(generation=[entry]) for _ in range(2)]
    assert all(campaign.is_finished_ok for campaign in campaigns)
    (stored,) = campaigns[0].inputs.config['generation']
    assert stored['query'] == query | {'formula': None, 'filter': None, 'max_structures': 100}
    (file,) = campaigns[0].inputs.files.values()
    assert file.get_content().count('database_id="id a-') == 2
    first, second = (_seeds(campaign) for campaign in campaigns)
    assert first.keys() == second.keys()
    assert sorted(seed.to_seed().record['database_id'] for seed in first.values()) == ['a-1', 'a-2']


def _seeds(campaign):
    """Return the seeds of a campaign, by their ids."""
    (generation,) = [node for node in campaign.called if node.process_label == 'generate_seeds']
    seeds = [link.node for link in generation.base.links.get_outgoing() if link.link_label.startswith('seed_')]
    return {seed.seed_id: seed for seed in seeds}
