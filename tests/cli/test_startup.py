import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.alloy_rows import alloy_rows

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.storage import export_dataset

# Typer itself imports pydantic for the parameters of a command.
HEAVY = ('aiida', 'ase', 'hydra', 'numpy', 'omegaconf', 'pymatgen', 'scipy', 'torch', 'yaml')


@pytest.mark.parametrize(
    'arguments',
    [
        ['--help'],
        ['--version'],
        ['config', '--help'],
        ['config', 'check', '--help'],
        ['generate', '--help'],
        ['run', '--help'],
    ],
)
def test_help_imports_no_heavy_package(arguments):
    code = (
        'import sys, atexit\n'
        f'atexit.register(lambda: print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr))\n'
        f'sys.argv = ["mlip-autopipe", *{arguments}]\n'
        'from aiida_mlip_autopipe.cli import main\n'
        'main()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, '')
    assert done.stdout


def test_the_help_lists_every_command(run):
    result = run('--help')
    for command in ('config', 'setup', 'generate', 'run', 'status', 'resume', 'export'):
        assert f'  {command} ' in result.stdout
    listed = run('config', '--help').stdout
    assert all(f'  {command} ' in listed for command in ('init', 'check', 'schema', 'show'))


def test_the_printed_version_is_that_of_the_package(run):
    assert run('--version').stdout == f'mlip-autopipe {__version__}\n'


@pytest.mark.parametrize('arguments', [['--help'], ['nonsense'], ['config', 'check', 'nowhere.yaml']])
def test_output_to_a_pipe_is_plain_text_in_ci(arguments, program):
    environment = {**os.environ, 'GITHUB_ACTIONS': 'true', 'CI': 'true', 'TERM': 'xterm-256color', 'COLUMNS': '40'}
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout or done.stderr
    assert '\x1b' not in done.stdout + done.stderr
    assert '╭' not in done.stdout + done.stderr


def test_a_command_for_datasets_imports_neither_the_config_nor_matplotlib(tmp_path):
    export_dataset(tmp_path / 'cu.db', alloy_rows(1))
    (tmp_path / 'vasp.yaml').write_text('{code: vasp, label_source: "dft:vasp:pbe", incar: {ENCUT: 520, GGA: PE}}')
    code = (
        'import sys, atexit\n'
        'heavy = ("matplotlib", "aiida", "aiida_mlip_autopipe.config")\n'
        'atexit.register(lambda: print(*(name for name in heavy if name in sys.modules), file=sys.stderr))\n'
        'sys.argv = ["mlip-autopipe", "dataset", "dft-inputs", "cu.db", "-o", "runs", "--settings", "vasp.yaml"]\n'
        'from aiida_mlip_autopipe.cli import main\n'
        'main()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, '')


@pytest.mark.parametrize(
    ('arguments', 'also_heavy'), [(['status'], ('scipy',)), (['explain'], ('scipy',)), (['trace', '1'], ())]
)
def test_a_command_that_reads_a_campaign_imports_neither_the_generators_nor_the_work_chains(arguments, also_heavy):
    heavy = (
        'aiida_mlip_autopipe.config',
        'aiida_mlip_autopipe.generation.generate',
        'aiida_mlip_autopipe.workflows.dataset',
        'matplotlib',
        'pandas',
        'pymatgen',
        *also_heavy,
    )
    archive = Path(__file__).parents[1] / 'campaigns' / 'stored' / 'campaign_1.aiida'
    command = [arguments[0], str(archive), *arguments[1:]]
    code = (
        'import sys, atexit\n'
        f'atexit.register(lambda: print(*(name for name in {heavy} if name in sys.modules), file=sys.stderr))\n'
        f'sys.argv = ["mlip-autopipe", *{command}]\n'
        'from aiida_mlip_autopipe.cli import main\n'
        'main()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, '')
    assert done.stdout
