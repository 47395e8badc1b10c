"""Store a small campaign as an archive, which every later version must read.

``python tests/support/store_campaign.py tests/campaigns/stored/NAME.aiida`` runs it in a temporary profile. The archive
contains the paths of the interpreter and of ``TMPDIR``: choose paths that do not identify a machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

# One of everything that a campaign stores: phases, a committee, held-out frames, a reference dataset.
SECTIONS = {
    'exploration': {
        'temperature_K': 500,
        'phases': [
            {'kind': 'ramp', 'n_steps': 10, 'temperature_K': 700},
            {'kind': 'velocity_reset', 'n_steps': 10, 'temperature_K': 300},
        ],
        'frame_interval': 2,
        'committee': {'calculator': {'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3, 'cutoff_A': 6.0}},
    },
    'sampling': {'kind': 'fps', 'n_structures': 8, 'test_fraction': 0.25, 'reference_dataset': 'old.xyz'},
}


def store_campaign(archive: Path) -> None:
    """Run the campaign in the loaded profile and write its archive."""
    from aiida.engine import run_get_node
    from aiida.tools.archive import create_archive
    from ase.build import bulk
    from support.tiny_campaign import change_campaign, write_structures

    from aiida_mlip_autopipe.installation.this_machine import set_up
    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    set_up(['emt', 'lj'])
    with TemporaryDirectory() as name:
        folder = write_structures(Path(name))
        bulk('Al', cubic=True).write(folder / 'old.xyz')
        builder = DatasetWorkChain.get_builder_from_config(change_campaign(folder, SECTIONS))
    campaign = run_get_node(builder)[1]
    assert campaign.is_finished_ok, campaign.exit_message
    create_archive([campaign], archive, overwrite=True, include_logs=False)


if __name__ == '__main__':
    with TemporaryDirectory() as home:
        os.environ['AIIDA_PATH'] = home
        store_campaign(Path(sys.argv[1]).absolute())
