"""What a job imports, in a process that has imported nothing before it."""

import json
import subprocess
import sys

import pytest

from aiida_mlip_autopipe.core.codes import Code

WORKS = {
    'explores': 'aiida_mlip_autopipe.exploration.explore:explore',
    'evaluates': 'aiida_mlip_autopipe.exploration.evaluate:evaluate_frames',
    'describes': 'aiida_mlip_autopipe.descriptors.job:describe_frames',
    'selects': 'aiida_mlip_autopipe.sampling.job:select_in_job',
}


@pytest.mark.parametrize('work', WORKS.values(), ids=WORKS)
def test_what_a_job_does_is_imported_first_of_all(work):
    module, _, name = work.partition(':')
    subprocess.run([sys.executable, '-c', f'from {module} import {name}'], check=True)


@pytest.mark.parametrize('package', ['exploration', 'descriptors', 'sampling'])
def test_a_job_whose_file_is_missing_leaves_a_result_that_says_so(package, tmp_path):
    command = [sys.executable, '-m', f'aiida_mlip_autopipe.{package}', 'job.json']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.startswith('refused: job.json ')
    assert json.loads((tmp_path / 'result.json').read_text())['code'] == Code.CONTRACT_VERSION
