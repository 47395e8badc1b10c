"""Jobs that cannot start. Each has a specific exit code, found from the output of the cluster, and is not repeated."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
from aiida import orm
from support.cluster import IMAGES, why_ended

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.jobs import contract

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOB = ExplorationCalculation.exit_codes
# The header of a Linux program without any content.
PROGRAM_FOR_ARM64 = b'\x7fELF\x02\x01\x01' + bytes(9) + struct.pack('<HHIQQQIHHHHHH', 2, 183, 1, *[0] * 4, 64, *[0] * 5)
REFUSALS = {
    'a program that is not in the image': (JOB.ERROR_EXECUTABLE_MISSING, '/nowhere/python'),
    'an interpreter that does not exist': (JOB.ERROR_EXECUTABLE_MISSING, '/nowhere/python'),
    'an interpreter for another processor': (JOB.ERROR_WRONG_ARCHITECTURE, 'cannot execute binary file'),
    'an image for another processor': (JOB.ERROR_WRONG_ARCHITECTURE, 'arm64'),
    'an image with an older contract of the package': (JOB.ERROR_CONTRACT_VERSION, 'contract'),
    'an image without the package': (JOB.ERROR_EXECUTABLE_MISSING, 'aiida_mlip_autopipe'),
    'a file that is not an image': (JOB.ERROR_IMAGE_MISSING, 'not-an-image.sif'),
}


@pytest.fixture(scope='module')
def foreign(cluster, tmp_path_factory):
    """Programs and images on the cluster that cannot run there."""
    folder = cluster.home / 'foreign'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / 'python').write_bytes(PROGRAM_FOR_ARM64)
    (folder / 'python').chmod(0o755)
    (folder / 'not-an-image.sif').write_text('half of a transfer')
    # Apptainer reads the architecture of an image from its shell.
    shell = tmp_path_factory.mktemp('root') / 'bin' / 'sh'
    shell.parent.mkdir()
    shell.write_bytes(PROGRAM_FOR_ARM64)
    shell.chmod(0o755)
    cluster.run('apptainer', '--quiet', 'build', folder / 'arm64.sif', shell.parents[1])
    older = folder / 'contract.py'
    version = f'CONTRACT_VERSION = {contract.CONTRACT_VERSION}\n'
    text = Path(contract.__file__).read_text()
    assert version in text
    older.write_text(text.replace(version, f'CONTRACT_VERSION = {contract.CONTRACT_VERSION - 1}\n'))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def refused(make_code, foreign, explore, wait_for_end):
    """The explorations, by fault. All were submitted together and have ended."""
    base = IMAGES / 'base.sif'
    inside = '/opt/mlip/lib/python3.11/site-packages/aiida_mlip_autopipe'
    enter = 'apptainer exec --bind $PWD --pwd $PWD'
    codes = [
        make_code('hpc', 'no-program-in-image', base, python='/nowhere/python'),
        make_code('hpc', 'no-interpreter', python='/nowhere/python'),
        make_code('hpc', 'arm64-interpreter', python=foreign / 'python'),
        make_code('hpc', 'arm64-image', foreign / 'arm64.sif'),
        make_code(
            'hpc',
            'older-image',
            base,
            engine=f'{enter} --bind {foreign}/contract.py:{inside}/jobs/contract.py {{image_name}}',
        ),
        make_code('hpc', 'bare-image', base, python='/usr/bin/python3'),
        make_code('hpc', 'torn-image', foreign / 'not-an-image.sif'),
    ]
    nodes = [explore(code) for code in codes]
    return {fault: wait_for_end(node) for fault, node in zip(REFUSALS, nodes, strict=True)}


@pytest.mark.parametrize('fault', REFUSALS)
def test_a_job_that_cannot_start_has_its_exit_code_and_is_not_repeated(refused, fault):
    exit_code, value = REFUSALS[fault]
    node = refused[fault]
    (job,) = [job for job in node.called if isinstance(job, orm.CalcJobNode)]
    assert job.exit_status == exit_code.status, job.exit_message
    assert value in why_ended(node)
    assert not node.is_finished_ok
