from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import aiida_mlip_autopipe

RunCommand = Callable[..., str]

pytestmark = pytest.mark.integration


def test_the_wheel_contains_all_files_of_the_package_and_no_others(wheel: Path, root: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    files = (path for path in (root / 'aiida_mlip_autopipe').rglob('*') if path.is_file())
    assert names == {str(path.relative_to(root)) for path in files if '__pycache__' not in path.parts}


def test_the_wheel_contains_the_licence(wheel: Path) -> None:
    (name,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith('licenses/LICENSE'))
    assert zipfile.ZipFile(wheel).read(name).startswith(b'MIT License')


CONFIG = """\
name: smoke
generation:
  - kind: alloy
    composition: {Cu: 0.5, Au: 0.5}
    n_seeds: 2
calculator: {kind: emt}
exploration: {temperature_K: 300, n_steps: 20, frame_interval: 10}
"""

EXPLORE = """\
import ase.io
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.environment import read_environment
from aiida_mlip_autopipe.jobs.loading import make_loader

ase.io.write(contract.SEED_FILE, ase.io.read('seeds.extxyz', index=0))
job = contract.Job(
    runner_version=RUNNER_VERSION,
    seeds=[contract.JobSeed(seed_id='smoke', random_seed=1)],
    calculator={'kind': 'emt'},
    environment=read_environment(make_loader({'kind': 'emt'}), 'cpu'),
    exploration={'ensemble': 'nvt', 'n_steps': 20, 'frame_interval': 10},
)
with open(contract.JOB_FILE, 'w') as file:
    file.write(job.model_dump_json())
"""


@pytest.mark.timeout(600)
def test_seeds_are_generated_and_explored_in_a_clean_environment(
    run_command: RunCommand, clean_programs: Path, tmp_path: Path
) -> None:
    command, python = clean_programs / 'mlip-autopipe', clean_programs / 'python'
    (tmp_path / 'smoke.yaml').write_text(CONFIG)
    assert aiida_mlip_autopipe.__version__ in run_command(command, '--version', folder=tmp_path)
    run_command(command, 'config', 'check', 'smoke.yaml', folder=tmp_path)
    run_command(command, 'generate', 'smoke.yaml', '-o', 'seeds.extxyz', folder=tmp_path)
    run_command(python, '-c', EXPLORE, folder=tmp_path)
    run_command(python, '-m', 'aiida_mlip_autopipe.exploration', 'job.json', folder=tmp_path)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert (result['outcome'], result['last_step'], result['n_frames']) == ('completed', 20, 2)
