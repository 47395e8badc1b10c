"""The chunks in which a campaign generates its seeds, and the nodes that connect them."""

from __future__ import annotations

import pytest
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_mlip_autopipe.generation import generate_seeds, merge_reports
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.workflows import dataset
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

SMALL = {'cell': 'as_given'}
ORDERED = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'L1_0', 'validation': SMALL}
# Entries whose seeds may repeat, may not repeat, and repeat those of an earlier entry.
ENTRIES = [
    ORDERED,
    {
        'kind': 'alloy',
        'composition': {'Cu': 0.5, 'Au': 0.5},
        'supercell': [2, 1, 1],
        'n_seeds': 8,
        'validation': {**SMALL, 'max_redraws': 1},
    },
    {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'n_seeds': 4, 'perturb': {'rattle_A': 0.05}, 'validation': SMALL},
    {**ORDERED, 'supercell': [2, 1, 1], 'perturb': {'volume_scan': [0.0, 0.1]}},
]


@pytest.mark.integration
@pytest.mark.parametrize('size', [1, 7, 100])
def test_chunks_of_any_size_give_the_same_seeds_and_generate_each_once(emt_code, campaign_config, monkeypatch, size):
    config = campaign_config(generation=ENTRIES)
    expected = generate_seeds(config.generation, random_seed=config.random_seed, cutoff_A=config.cutoff_A)
    assert expected.report['duplicates'] > 1

    monkeypatch.setattr(dataset, 'SEEDS_PER_CHUNK', size)
    builder = DatasetWorkChain.get_builder_from_config(config)
    made, make_one = [], Entry.make_one
    monkeypatch.setattr(
        Entry,
        'make_one',
        lambda entry, index, *rest: made.append((entry.streams, index)) or make_one(entry, index, *rest),
    )
    runner = get_manager().create_runner(communicator=None)
    monkeypatch.setattr(get_manager(), '_runner', runner)
    campaign = instantiate_process(runner, builder)
    campaign.setup()
    while campaign.has_seeds_to_generate():
        assert campaign.generate_seeds() is None

    assert len(made) == len(set(made)) == config.n_seeds == 15
    labels = [f'seed_{seed.seed_id}' for seed in expected.seeds]
    assert list(campaign.ctx.waiting) == labels
    assert dict(campaign.ctx.places) == {f'seed_{seed.seed_id}': [*seed.place, seed.entry] for seed in expected.seeds}
    for seed in expected.seeds:
        node = campaign.outputs['seeds'][f'seed_{seed.seed_id}']
        assert node.to_seed().atoms.positions.tobytes() == seed.atoms.positions.tobytes()
        assert node.creator.outputs.places[seed.seed_id] == [*seed.place, seed.entry]
    reports = [campaign.outputs['generation_reports'][f'seeds_{start}'].get_dict() for start in range(0, 15, size)]
    assert merge_reports(reports) == expected.report
    assert all('places' not in report for report in reports)

    chunks = {node.creator.pk: node.creator for node in campaign.outputs['generation_reports'].values()}
    passed = [chunk.outputs.fingerprints.pk for _, chunk in sorted(chunks.items()) if 'fingerprints' in chunk.outputs]
    taken = [chunk.inputs.fingerprints.pk for _, chunk in sorted(chunks.items()) if 'fingerprints' in chunk.inputs]
    assert passed == taken
    assert len(taken) == len(reports) - 1
