"""Clusters and wires from generation, explored with EMT."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
SLAB = {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]], 'n_layers': 2, 'vacuum_A': 10}
ENTRIES = {
    'cluster': {'shape': 'icosahedron', 'n_shells': 1},
    'wire': {'shape': 'wire', 'axis': [1, 1, 0], 'n_atoms': 7, 'vacuum_A': 5},
    'slab': {'shape': 'icosahedron', 'n_shells': 1, 'support': {'of': SLAB, 'separation_A': 3}, 'n_seeds': 1},
}


@pytest.mark.parametrize('form', ENTRIES)
def test_a_cluster_runs_at_constant_volume_and_keeps_its_periodicity(job_folder, form):
    entry = {'kind': 'cluster', 'of': COPPER, 'validation': {'cell': 'as_given'}, **ENTRIES[form]}
    settings = TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python([entry])
    (seed,) = generate_seeds(settings, random_seed=7, cutoff_A=0.0).seeds
    assert seed.record['form'] == form
    folder = job_folder().write(seed.atoms, {'n_steps': 20, 'temperature_K': 300}, form=form)
    result = folder.run()
    assert (result.outcome, result.ensemble) == ('completed', 'nvt')
    frames = folder.frames()
    assert np.array_equal(frames.pbc, seed.atoms.pbc)
    assert np.allclose(frames.cells, seed.atoms.cell.array)
