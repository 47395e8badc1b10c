"""One seed of every kind goes through a campaign with a machine-learning potential."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.generation import GENERATORS
from aiida_mlip_autopipe.installation.codes import ensure_code
from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.long, pytest.mark.timeout(3000)]

CONFIGS = Path(__file__).parents[2] / 'workchains' / 'configs'
N_SEEDS = {'dimer': 2}
MORE = (('interface', 'water between slabs of copper'), ('molecular', 'benzene on centres of inversion'))
FRAMES = {'dynamics': 2, 'relax': 1, 'single_point': 1}


def entries():
    """Return the entry of each kind in its minimal example config, and more from full ones, with few seeds."""
    for kind in GENERATORS:
        config = yaml.safe_load((CONFIGS / f'{kind}_minimal.yaml').read_text(encoding='utf8'))
        (entry,) = (entry for entry in config['generation'] if entry['kind'] == kind)
        yield entry | {'n_seeds': N_SEEDS.get(kind, 1)}
    for kind, label in MORE:
        config = yaml.safe_load((CONFIGS / f'{kind}_full.yaml').read_text(encoding='utf8'))
        yield next(entry for entry in config['generation'] if entry['label'] == label) | {'n_seeds': 1}


def test_the_dataset_has_rows_of_every_kind(emt_code, tmp_path):
    from aiida.engine import run_get_node

    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    ensure_code(emt_code.computer, 'sevennet')
    config = validate_config(
        {
            'name': 'every_kind',
            'generation': list(entries()),
            'calculator': {'kind': 'sevennet'},
            'exploration': {'n_steps': 4, 'frame_interval': 2, 'timestep_fs': 0.5, 'temperature_K': 300},
            'sampling': {'kind': 'random', 'n_structures': 1000},
            'execution': {'max_concurrent_jobs': 2, 'min_success_fraction': 1.0},
        },
        CONFIGS,
    )
    campaign = run_get_node(DatasetWorkChain.get_builder_from_config(config))[1]
    assert campaign.is_finished_ok, campaign.exit_message
    write_dataset(campaign, tmp_path / 'every_kind.db')
    with Dataset(tmp_path / 'every_kind.db') as dataset:
        rows = list(dataset.query())
    found = Counter(row.data['seed']['kind'] for row in rows)
    assert set(found) == {entry.kind for entry in config.generation}
    assert {label for _, label in MORE} <= {row.data['seed'].get('label') for row in rows}
    for number, entry in enumerate(config.generation):
        assert found[entry.kind] >= N_SEEDS.get(entry.kind, 1) * FRAMES[config.exploration_of(number).kind]
    for row in rows:
        assert np.isfinite(row.atoms.get_potential_energy())
        assert np.isfinite(row.atoms.get_forces(apply_constraint=False)).all()
