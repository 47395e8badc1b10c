"""The campaign of the integration tests, on this machine, in a container, over SSH and on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.config import CampaignConfig, validate_config

# Small cells that EMT explores in a second, from two generators, one of which reads files.
CAMPAIGN = {
    'name': 'tiny',
    'random_seed': 7,
    'generation': [
        {
            'kind': 'alloy',
            'lattice': 'fcc',
            'composition': {'Cu': 0.75, 'Au': 0.25},
            'supercell': [2, 2, 2],
            'n_seeds': 2,
            'validation': {'min_width_factor': 0.5},
        },
        {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}},
    ],
    'calculator': {'kind': 'emt'},
    'exploration': {'temperature_K': 500, 'n_steps': 20, 'frame_interval': 2},
    'sampling': {'kind': 'fps', 'n_structures': 10},
}


def write_structures(folder: Path) -> Path:
    """Write the structure file of the campaign; return its folder."""
    from ase.build import bulk

    bulk('Al', cubic=True).repeat((2, 2, 1)).write(folder / 'al.xyz')
    return folder


def change_campaign(folder: Path, sections: dict[str, Any]) -> CampaignConfig:
    """Return the campaign with changed sections; a section of the same kind is merged with the original one."""
    data = dict(CAMPAIGN)
    for name, value in sections.items():
        old = data.get(name)
        same_kind = isinstance(value, dict) and isinstance(old, dict) and value.get('kind') in (None, old.get('kind'))
        data[name] = {**old, **value} if same_kind else value
        if same_kind and value.get('phases'):
            data[name].pop('n_steps')  # each phase sets its own number of steps
    return validate_config(data, folder)
