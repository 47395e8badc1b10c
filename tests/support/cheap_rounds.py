"""The cheapest campaign with rounds: EMT explores and labels, and a small SevenNet model is trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.installation.codes import store_self_test

CODE = 'autopipe-emt@localhost'
N_PARENTS = 12
"""The smallest number of groups of which half contain six random frames."""
N_RANDOM = 6
N_SELECTED = 4
SECTIONS: dict[str, Any] = {
    'name': 'cheap',
    'generation': [
        {'kind': 'structures', 'files': [f'{number}.xyz'], 'perturb': {'rattle_A': 0.1}} for number in range(N_PARENTS)
    ],
    'calculator': {'kind': 'emt'},
    'exploration': {'temperature_K': 300, 'n_steps': 4, 'frame_interval': 1},
    'sampling': {'kind': 'random', 'n_structures': N_SELECTED},
    'labelling': {'kind': 'calculator', 'calculator': {'kind': 'emt'}, 'code': CODE},
    'training': {
        'kind': 'sevennet',
        'recipe': 'scratch',
        'n_epochs': 6,
        'n_channels': 4,
        'max_l': 1,
        'cutoff_A': 4.0,
        'code': CODE,
    },
    'rounds': {
        'maximum': 1,
        'target_force_error_eV_A': 0.01,
        'random_labels': N_RANDOM,
        'hot_runs': {'n_runs': 1, 'n_steps': 2},
        'estimate_labels': False,
    },
    'execution': {'code': CODE, 'reuse_finished': True},
}


def record_environment(code: orm.AbstractCode) -> None:
    """Record the environment of the trainer for a code. No model is tested, since it does not exist yet."""
    calculator = {'kind': 'sevennet'}
    environment = environment_of(calculator).model_dump(mode='json')
    store_self_test(code, calculator, {'calculator': 'sevennet', 'environment': environment})


def write_parents(folder: Path) -> None:
    """Write the structures of which the campaign makes seeds, one of each.

    They contain one element: a new model cannot be trained if an element is missing from a training set.
    """
    for number in range(N_PARENTS):
        bulk('Cu', a=3.5 + 0.02 * number).repeat((1, 1, 2)).write(folder / f'{number}.xyz')
