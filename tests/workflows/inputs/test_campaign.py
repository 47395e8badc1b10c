"""The inputs of a campaign contain the user's files, and are independent of their paths."""

from __future__ import annotations

import shutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import molecule
from support.tiny_campaign import change_campaign

from aiida_mlip_autopipe.calculations.generate_seeds import generate_seeds
from aiida_mlip_autopipe.workflows.inputs.campaign import campaign_inputs

pytestmark = pytest.mark.integration

COPPER = {'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1}}
LIQUID = {'molecules': [{'file': 'molecule.xyz'}], 'density_g_per_cm3': 0.8}
ENTRIES = [
    {'kind': 'molecular', **LIQUID, 'n_molecules': 2},
    {
        'kind': 'interface',
        'substrate': COPPER,
        'substrate_miller': [1, 1, 1],
        'liquid': {**LIQUID, 'thickness_A': 20},
    },
    {
        'kind': 'adsorption',
        'of': {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]]},
        'files': ['molecule.xyz'],
    },
]


@pytest.fixture
def inputs_of(emt_code, tmp_path):
    """Return a function that writes a molecule into a folder and returns the inputs of a campaign with its file."""
    entries = [{**entry, 'n_seeds': 1, 'validation': {'min_width_factor': 0.5}} for entry in ENTRIES]

    def make(folder, name):
        (tmp_path / folder).mkdir(exist_ok=True)
        molecule(name).write(tmp_path / folder / 'molecule.xyz')
        return campaign_inputs(change_campaign(tmp_path / folder, {'generation': entries}), lambda message: None)

    return make


def hashes(inputs):
    """Return the hashes of the nodes from which seeds are generated."""
    nodes = {'settings': inputs['generation'], **inputs['files']}
    return {name: node.store().base.caching.compute_hash() for name, node in nodes.items()}


def test_a_moved_file_changes_no_hash_and_an_edited_one_does(inputs_of):
    first = hashes(inputs_of('first', 'H2O'))
    assert hashes(inputs_of('moved', 'H2O')) == first
    edited = hashes(inputs_of('first', 'CO'))
    assert not set(edited.values()) & set(first.values())


def test_seeds_are_generated_after_the_files_were_deleted(inputs_of, tmp_path):
    inputs = inputs_of('first', 'H2O')
    shutil.rmtree(tmp_path / 'first')
    numbers = {'random_seed': inputs['random_seed'], 'start': orm.Int(0), 'stop': orm.Int(len(ENTRIES))}
    _, node = run_get_node(
        generate_seeds, settings=inputs['generation'], **numbers, stage_version=orm.Str('1'), **inputs['files']
    )
    assert node.is_finished_ok, node.exit_message
    seeds = [node.outputs[name].to_seed() for name in node.outputs if name.startswith('seed_')]
    assert {seed.record['kind'] for seed in seeds} == {entry['kind'] for entry in ENTRIES}
    assert all({'H', 'O'} <= set(seed.atoms.symbols) for seed in seeds)
