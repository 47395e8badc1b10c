"""Names with shell syntax and paths: each is refused by the config, or a real shell takes it literally."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from aiida.common.datastructures import CodeRunMode
from aiida.schedulers.datastructures import JobTemplate, JobTemplateCodeInfo
from aiida.schedulers.plugins.slurm import SlurmJobResource, SlurmScheduler

from aiida_mlip_autopipe.calculations.stash import SCRIPT
from aiida_mlip_autopipe.calculators.base import CalculatorRefusedError
from aiida_mlip_autopipe.config import config_text, load_config, validate_config
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.loading import make_loader

HOSTILE = [
    '$(touch touched)',
    '`touch touched`',
    "'; touch touched; '",
    '"; touch touched; "',
    'a\ntouch touched\n',
    '; touch touched #',
    '&& touch touched',
    '../touched',
    '-rf',
    'a\0b',
    '${IFS}touched',
    'a\rtouch touched',
]
BASE = {
    'name': 'x',
    'generation': [{'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}],
    'calculator': {'kind': 'emt'},
}


def accepted(tmp_path, changes):
    """Return the config with these sections; None if it is refused."""
    try:
        return validate_config({**BASE, **changes}, tmp_path)
    except AutopipeError:
        return None


@pytest.mark.parametrize('text', HOSTILE)
def test_the_name_of_a_campaign_has_no_shell_syntax_and_no_path(text, tmp_path):
    assert accepted(tmp_path, {'name': text}) is None


@pytest.mark.parametrize('text', HOSTILE)
def test_queue_and_account_are_taken_literally(text, tmp_path):
    config = accepted(tmp_path, {'execution': {'queue': text, 'account': text}})
    if config is None:
        return
    template = JobTemplate()
    template.queue_name, template.account = config.execution.queue, config.execution.account
    template.job_resource = SlurmJobResource(num_machines=1, num_mpiprocs_per_machine=1)
    template.codes_info = [JobTemplateCodeInfo(cmdline_params=['true'])]
    template.codes_run_mode = CodeRunMode.SERIAL
    script = SlurmScheduler().get_submit_script(template)
    subprocess.run(['bash', '-c', script], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('text', HOSTILE)
def test_the_folder_of_copies_is_taken_literally(text, tmp_path):
    config = accepted(tmp_path, {'execution': {'stash': {'folder': f'{tmp_path}/inside/{text}'}}})
    if config is None:
        return
    (tmp_path / 'job').mkdir()
    original = tmp_path / 'job' / 'original'
    original.write_bytes(b'frames')
    variables = {
        'original': str(original),
        'size': '6',
        'sha256': 'b8ad2c6d0d5e2d2bbcc6b1c9ad7c0c3a0f4c3d0c1f7d7a1e2a6c8a1b1d1e1f10',
        'folder': config.execution.stash.folder,
        'name': 'full_trajectory.frames',
        'report': 'report',
    }
    hashed = subprocess.run(['sha256sum', original], capture_output=True, text=True, check=True)
    variables['sha256'] = hashed.stdout.split()[0]
    lines = [f'{name}={shlex.quote(value)}' for name, value in variables.items()]
    subprocess.run(['sh', '-c', '\n'.join([*lines, SCRIPT])], cwd=tmp_path / 'job', check=True)
    assert {path.name for path in (tmp_path / 'job').iterdir()} == {'original', 'report'}
    assert (tmp_path / 'inside' / text / 'full_trajectory.frames').read_bytes() == b'frames'


@pytest.mark.parametrize('text', HOSTILE)
def test_a_job_cannot_choose_the_path_of_a_copy(text):
    trajectory = {'n_frames': 1, 'first_step': 0, 'last_step': 0, 'size_bytes': 9, 'sha256': 'a' * 64}
    for changes in ({'seed_id': text}, {'full_trajectory': {**trajectory, 'file': text}}):
        if changes.get('seed_id') == '-rf':
            continue  # It follows `seed_`.
        with pytest.raises(ValueError, match='pattern'):
            contract.Result(outcome='completed', **changes)
    contract.Result(outcome='completed', seed_id='1234abcd', full_trajectory=trajectory)


@pytest.mark.parametrize('text', HOSTILE)
def test_labels_codes_and_file_names_survive_in_a_config(text, tmp_path):
    entry = {**BASE['generation'][0], 'label': text}
    for changes in ({'generation': [entry]}, {'execution': {'code': text}}, {'storage': {'database': f'{text}.db'}}):
        config = accepted(tmp_path, changes)
        if config is not None:
            path = tmp_path / 'again.yaml'
            path.write_text(config_text(config))
            assert load_config(path) == config


def test_the_name_of_a_custom_calculator_is_not_evaluated(tmp_path):
    for text in ('os:system("touch touched")', '__import__("os").system:x', '../evil:Calculator'):
        with pytest.raises(AutopipeError):
            validate_config({**BASE, 'calculator': {'kind': 'custom', 'calculator': text, 'cutoff_A': 5.0}}, tmp_path)


def test_a_function_is_not_accepted_as_a_calculator():
    with pytest.raises(CalculatorRefusedError):
        make_loader({'kind': 'custom', 'calculator': 'os:system', 'cutoff_A': 5.0}).load()
