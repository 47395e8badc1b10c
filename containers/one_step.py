"""The test of an image: one step of molecular dynamics of copper, run like a job of a campaign.

``one_step.py NAME`` exits with status 0 if the job completes. The image ``base`` contains EMT. MACE ships no model, so
the test uses the one included in the image, or one with random weights. GPAW is too slow for dynamics, so the test is
a single point of silicon with a small basis.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parent / 'models'


def main(image: str) -> int:
    """Run the job in a temporary folder and return the exit status."""
    kind = 'emt' if image == 'base' else image
    with tempfile.TemporaryDirectory() as folder:
        write_job(make_settings(kind, Path(folder)), Path(folder))
        subprocess.run([sys.executable, '-m', 'aiida_mlip_autopipe.exploration', 'job.json'], cwd=folder, check=True)
        result = json.loads((Path(folder) / 'result.json').read_text())
    print(f'{kind}: {result["outcome"]} {result["message"]} {result["versions"]}')
    return 0 if result['outcome'] == 'completed' else 1


def make_settings(kind: str, folder: Path) -> dict[str, Any]:
    """Return the settings of the calculator, with a model if it ships none."""
    models = sorted(MODELS.glob('*'))
    if models:
        return {'kind': kind, 'model': str(models[0])}
    if kind == 'gpaw':
        return {'kind': kind, 'plane_wave_cutoff_eV': 200.0, 'kspacing_per_A': 1.0, 'scf_density': 1e-3}
    if kind == 'mace':
        return {'kind': kind, 'model': str(write_random_mace(folder / 'random.model'))}
    return {'kind': kind}


def write_job(calculator: dict[str, Any], folder: Path) -> None:
    """Write the input files of the job."""
    from ase.build import bulk
    from ase.io.trajectory import TrajectoryWriter

    from aiida_mlip_autopipe.exploration import RUNNER_VERSION
    from aiida_mlip_autopipe.jobs.contract import JOB_FILE, SEED_FILE, Job, JobSeed
    from aiida_mlip_autopipe.jobs.environment import read_environment
    from aiida_mlip_autopipe.jobs.loading import make_loader
    from aiida_mlip_autopipe.structures.seed import Seed

    is_dft = calculator['kind'] == 'gpaw'
    atoms = bulk('Si') if is_dft else bulk('Cu', cubic=True) * (2, 2, 2)
    dynamics = {'temperature_K': 300, 'n_steps': 1, 'frame_interval': 1}
    with TrajectoryWriter(folder / SEED_FILE, 'w') as writer:
        writer.write(atoms)
    job = Job(
        runner_version=RUNNER_VERSION,
        seeds=(JobSeed(seed_id=Seed(atoms).seed_id, random_seed=1),),
        calculator=calculator,
        # The job runs with the same interpreter, on a CPU of the machine that builds the image.
        environment=read_environment(make_loader(calculator), 'cpu'),
        exploration={'kind': 'single_point'} if is_dft else dynamics,
    )
    (folder / JOB_FILE).write_text(job.model_dump_json())


def write_random_mace(path: Path) -> Path:
    """Write a tiny MACE model of copper with random weights."""
    from importlib import import_module

    import numpy as np
    import torch

    modules = import_module('mace.modules')  # before e3nn, so that e3nn can load its constants with a recent torch
    from e3nn import o3

    torch.set_default_dtype(torch.float64)
    block = modules.interaction_classes['RealAgnosticResidualInteractionBlock']
    network = modules.ScaleShiftMACE(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=1,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=1,
        hidden_irreps=o3.Irreps('8x0e'),
        MLP_irreps=o3.Irreps('4x0e'),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([[-3.0]]),
        avg_num_neighbors=12.0,
        atomic_numbers=[29],
        correlation=2,
        radial_MLP=[8],
        atomic_inter_scale=[0.1],
        atomic_inter_shift=[0.0],
    )
    torch.save(network, path)
    return path


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
