"""The command that runs a job, and imports in a new process."""

import json
import subprocess
import sys

import pytest

from aiida_mlip_autopipe.core.codes import Code

WORKS = {
    'explores': 'aiida_mlip_autopipe.exploration.explore:explore',
    'labels': 'aiida_mlip_autopipe.labelling.job:label_structures',
    'describes': 'aiida_mlip_autopipe.descriptors.job:describe_frames',
    'selects': 'aiida_mlip_autopipe.sampling.job:select_in_job',
}


@pytest.mark.parametrize('work', WORKS.values(), ids=WORKS)
def test_the_work_of_a_job_can_be_imported_first(work):
    module, _, name = work.partition(':')
    subprocess.run([sys.executable, '-c', f'from {module} import {name}'], check=True)


@pytest.mark.parametrize('package', ['exploration', 'descriptors', 'sampling', 'labelling'])
def test_a_job_without_a_file_writes_a_result(package, tmp_path):
    command = [sys.executable, '-m', f'aiida_mlip_autopipe.{package}', 'job.json']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.startswith('refused: job.json ')
    assert json.loads((tmp_path / 'result.json').read_text())['code'] == Code.CONTRACT_VERSION
