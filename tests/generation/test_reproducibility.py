"""Seeds do not depend on the order of sets, the number of threads, the locale or the processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

CONFIGS = Path(__file__).parents[2] / 'workchains' / 'configs'
COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
LOW = {'cell': 'as_given'}
SLAB = {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]], 'thickness_A': 6}
ENTRIES = [
    {'kind': 'alloy', 'composition': {'Cr': 0.2, 'Mn': 0.2, 'Fe': 0.2, 'Co': 0.2, 'Ni': 0.2}, 'n_atoms': 32,
     'n_seeds': 3, 'perturb': {'rattle_A': 0.05, 'anisotropic_strain': 0.03, 'shear': 0.02}},
    {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Ti': 0.5, 'V': 0.5}, 'lattice': 'bcc',
     'supercell': [4, 4, 4], 'n_seeds': 1, 'sqs': {'pair_cutoff': 1.7, 'n_steps': 300}},
    {'kind': 'ionic', 'prototype': 'spinel', 'sites': {'A': 'Fe', 'B': 'Fe', 'X': 'O'}, 'n_seeds': 2},
    {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': {'Zr': 0.875, 'Y': 0.125}, 'X': 'O'},
     'supercell': [2, 2, 2], 'schottky': 1, 'frenkel': {'O': 1}, 'n_seeds': 2},
    {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Ca', 'B': 'Ti', 'X': 'O'}, 'tilts': 'a-b+a-'},
    {'kind': 'intermetallic', 'prototype': 'C14', 'sites': {'A': 'Zr', 'B': {'Cr': 0.5, 'Fe': 0.5}}, 'n_seeds': 2},
    {'kind': 'ion_conductor', 'prototype': 'garnet',
     'sites': {'M': 'Li', 'A': 'La', 'B': {'Zr': 0.75, 'Ta': 0.25}, 'X': 'O'},
     'ordering': {'n_orderings': 3}, 'n_seeds': 2},
    {'kind': 'structures', 'files': [str(CONFIGS / 'structures' / 'half_delithiated_spinel.cif')],
     'partial_occupancy': 'order', 'ordering': {'n_orderings': 2}, 'n_seeds': 1},
    {'kind': 'covalent', 'structure': 'graphite', 'sites': {'A': 'C'}, 'perturb': {'rattle_A': 0.02}},
    {**SLAB, 'perturb': {'rattle_temperature_K': 300}},
    {'kind': 'adsorption', 'of': {**SLAB, 'miller_indices': [[1, 1, 0], [1, 1, 1]]}, 'molecules': ['CO']},
    {'kind': 'surface', 'of': {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}},
     'miller_indices': [[1, 1, 0]], 'thickness_A': 8},
    {'kind': 'grain_boundary', 'of': COPPER, 'sigmas': [5], 'characters': ['twist'], 'rigid_shift': True, 'n_seeds': 1},
    {'kind': 'interface', 'film': {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}},
     'substrate': {'kind': 'alloy', 'composition': {'Ag': 0.5, 'Pd': 0.5}}, 'film_miller': [1, 0, 0],
     'substrate_miller': [1, 0, 0], 'strained': 'both', 'n_matches': 3, 'n_seeds': 3},
    {'kind': 'interface', 'film': {'kind': 'alloy', 'composition': {'Ni': 1.0}}, 'substrate': COPPER, 'n_matches': 2,
     'film_miller': [1, 1, 1], 'substrate_miller': [1, 1, 1], 'shifts': 'random', 'vacuum_A': 0, 'n_seeds': 2},
    {'kind': 'interface', 'substrate': COPPER, 'substrate_miller': [1, 1, 1], 'substrate_n_layers': 3, 'n_seeds': 2,
     'liquid': {'molecules': [{'name': 'H2O'}], 'density_g_per_cm3': 1.0, 'thickness_A': 40}},
    {'kind': 'defect', 'of': {**COPPER, 'n_atoms': 32}, 'vacancies': {'Cu': 2}, 'interstitials': {'Ni': 1},
     'n_seeds': 2},
    {'kind': 'defect', 'of': {**COPPER, 'lattice': 'bcc', 'n_atoms': 54}, 'interstitials': {'C': 1},
     'dumbbells': {'Cu-Ni': 1}, 'vacancy_clusters': [{'Cu': 3}], 'n_seeds': 2},
    {'kind': 'stacking_fault', 'of': {**COPPER, 'composition': {'Cu': 0.5, 'Ni': 0.5}}, 'n_points': 4,
     'faults': ['gamma_line', 'twin']},
    {'kind': 'dislocation', 'of': COPPER, 'separation_A': 8},
    {'kind': 'dimer', 'symbols': ['Si', 'H'], 'max_distance_A': 5.0, 'n_points': 3, 'trimers': True},
    {'kind': 'atom', 'symbols': ['Si', 'H']},
    {'kind': 'structures', 'files': [str(CONFIGS / 'structures' / 'quartz.cif')]},
    {'kind': 'layered', 'structure': 'M3X2', 'sites': {'M': {'Ti': 0.5, 'V': 0.5}, 'X': 'C'},
     'terminations': {'O': 0.5, 'OH': 0.5}, 'n_atoms': 60, 'n_seeds': 2},
    {'kind': 'layered', 'structure': 'honeycomb', 'sites': {'A': 'C'}, 'n_layers': 2, 'twist': [1, 2]},
    {'kind': 'cluster', 'of': {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': 'Ce', 'X': 'O'}},
     'shape': 'wulff', 'n_atoms': 60, 'surface_energies': [{'miller': [1, 1, 1], 'energy_J_m2': 1}]},
    {'kind': 'cluster', 'of': COPPER, 'shape': 'random', 'n_atoms': 20, 'support': {'of': SLAB}, 'n_seeds': 2},
    {'kind': 'amorphous', 'composition': {'Si': 1, 'O': 2}, 'density_g_per_cm3': 2.2, 'n_seeds': 2},
    {'kind': 'molecular', 'molecules': [{'name': 'CH3OH', 'count': 4}, {'name': 'H2O', 'count': 28}],
     'density_g_per_cm3': 0.95, 'n_seeds': 2, 'perturb': {'rattle_A': 0.05, 'shear': 0.02}},
    {'kind': 'molecular', 'molecules': [{'name': 'CO2'}], 'packing': 'crystal', 'z_prime': 0.5, 'n_seeds': 3},
    {'kind': 'formula', 'formula': 'Fe3O4', 'max_prototypes': 0, 'n_random': 2},
]  # fmt: skip
SCRIPT = """
import json, sys
from pydantic import TypeAdapter
from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

entries = TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python(json.load(sys.stdin))
result = generate_seeds(entries, random_seed=7, cutoff_A=0.0)
seeds = [[s.seed_id, s.atoms.numbers.tolist(), s.atoms.positions.tolist(), s.atoms.cell.tolist()] for s in result.seeds]
print(json.dumps([seeds, result.report]))
"""


@pytest.fixture(scope='module')
def entries():
    return [entry if entry['kind'] in ('dimer', 'atom') else {**entry, 'validation': LOW} for entry in ENTRIES]


@pytest.fixture(scope='module')
def here(entries):
    settings = TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python(entries)
    return generate_seeds(settings, random_seed=7, cutoff_A=0.0)


def make_elsewhere(entries, **environment: str):
    """Make the seeds in another process."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT], input=json.dumps(entries), env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.integration
def test_hash_seed_and_number_of_threads_do_not_change_the_seeds(entries, here):
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '3')
    seeds, report = make_elsewhere(entries, PYTHONHASHSEED='12345', TZ='Asia/Tokyo', LC_ALL='C', **threads)
    assert [seed_id for seed_id, *_ in seeds] == [seed.seed_id for seed in here.seeds]
    assert report == json.loads(json.dumps(here.report))
    assert {seed.record['kind'] for seed in here.seeds} == {entry['kind'] for entry in ENTRIES}


@pytest.mark.integration
def test_the_arithmetic_of_another_processor_gives_the_same_structures(entries, here):
    # The linear algebra of a Pentium 4, and NumPy without the vector instructions of this processor.
    dispatched = np.show_config(mode='dicts')['SIMD Extensions']['found']
    seeds, _ = make_elsewhere(entries, OPENBLAS_CORETYPE='Prescott', NPY_DISABLE_CPU_FEATURES=' '.join(dispatched))
    assert len(seeds) == len(here.seeds)
    for (_, numbers, positions, cell), seed in zip(seeds, here.seeds, strict=True):
        assert numbers == seed.atoms.numbers.tolist()
        np.testing.assert_allclose(positions, seed.atoms.positions, rtol=0, atol=1e-8)
        np.testing.assert_allclose(cell, seed.atoms.cell.array, rtol=0, atol=1e-8)
