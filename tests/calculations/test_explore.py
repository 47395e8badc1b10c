"""Every way in which a job can fail, provoked by a job that really runs."""

from __future__ import annotations

import sys

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.exploration.calculators.emt import EMTSettings
from aiida_mlip_autopipe.seeds import Seed

pytestmark = pytest.mark.integration

RUN = f'{sys.executable} "$@"\n'


@pytest.fixture
def explore(emt_code, tmp_path):
    """Run one job; ``script`` takes the interpreter's place, for what only a broken machine does."""

    def run(script=None, calculator=None, squeeze=1.0, runner_version=RUNNER_VERSION, wallclock_s=None, **settings):
        code = emt_code
        if script is not None:
            executable = tmp_path / 'broken-python'
            executable.write_text(f'#!/bin/sh\n{script}')
            executable.chmod(0o755)
            code = orm.InstalledCode(
                label=tmp_path.name, computer=emt_code.computer, filepath_executable=str(executable)
            )
        atoms = bulk('Cu', cubic=True) * (2, 2, 2)
        atoms.set_cell(atoms.cell * squeeze, scale_atoms=True)
        exploration = ExplorationSettings(**{'temperature_K': 300, 'n_steps': 20, 'frame_interval': 5, **settings})
        options = {'max_wallclock_seconds': wallclock_s} if wallclock_s else {}
        _, node = run_get_node(
            ExplorationCalculation,
            code=code,
            seed=SeedData.from_seed(Seed(atoms, {'kind': 'structures'})),
            random_seed=orm.Int(1),
            calculator=orm.Dict(calculator or EMTSettings().model_dump(mode='json')),
            exploration=orm.Dict(exploration.model_dump(mode='json')),
            runner_version=orm.Str(runner_version),
            metadata={'options': options},
        )
        return node

    return run


@pytest.mark.parametrize(
    ('script', 'label'),
    [
        ('exit 1', 'ERROR_RESULT_MISSING'),
        (RUN + 'truncate --size 100 result.json', 'ERROR_RESULT_UNREADABLE'),
        (RUN + 'rm trajectory.traj', 'ERROR_TRAJECTORY_MISSING'),
        (RUN + 'truncate --size 100 trajectory.traj', 'ERROR_TRAJECTORY_UNREADABLE'),
    ],
    ids=['no result', 'result torn', 'no trajectory', 'trajectory torn'],
)
def test_files_that_the_job_did_not_leave_whole(explore, script, label):
    node = explore(script)
    assert node.exit_status == ExplorationCalculation.exit_codes[label].status, node.exit_message


@pytest.mark.parametrize(
    ('inputs', 'label', 'sentence'),
    [
        ({'runner_version': '0'}, 'ERROR_CONTRACT_VERSION', 'version 0 of the runner'),
        ({'monte_carlo': {'moves': [{'kind': 'swap'}]}}, 'ERROR_SETTINGS_REFUSED', 'need different elements'),
        (
            {'calculator': {'kind': 'custom', 'calculator': 'no_such_package:Potential', 'cutoff_A': 5.0}},
            'ERROR_CALCULATOR_MISSING',
            "needs the package 'no_such_package', which is not installed",
        ),
        (
            {'calculator': {'kind': 'sevennet', 'model': '7net-0', 'model_sha256': 64 * '0'}},
            'ERROR_MODEL_MISMATCH',
            'expected was 000000000000…',
        ),
        (
            {'calculator': {'kind': 'custom', 'calculator': 'ase.calculators.calculator:Calculator', 'cutoff_A': 5.0}},
            'ERROR_RUNNER_RAISED',
            "KeyError: 'energy'",
        ),
        ({'n_steps': 1_000_000, 'wallclock_s': 4}, 'ERROR_OUT_OF_WALLTIME', 'its checkpoint is attached'),
        ({'frame_interval': 1, 'guards': {'force_eV_per_A': 0.5}}, 'ERROR_UNSTABLE', 'limit 0.5, at step'),
        ({'squeeze': 0.4}, 'ERROR_NO_FRAME', 'at step 0'),
    ],
)
def test_a_job_that_cannot_go_on_says_why_by_its_exit_code(explore, inputs, label, sentence):
    node = explore(**inputs)
    assert node.exit_status == ExplorationCalculation.exit_codes[label].status, node.exit_message
    said = node.exit_message + node.outputs.result['message']
    assert sentence in said
    assert ('crash' in node.outputs) == (label in ('ERROR_UNSTABLE', 'ERROR_NO_FRAME'))


@pytest.mark.mlip
def test_a_file_that_is_no_model(explore, tmp_path):
    model = tmp_path / 'weights.pth'
    model.write_bytes(b'no weights')
    node = explore(calculator={'kind': 'sevennet', 'model': str(model)})
    assert node.exit_status == ExplorationCalculation.exit_codes['ERROR_MODEL_NOT_LOADED'].status, node.exit_message
    assert "the model 'weights.pth' cannot be loaded" in node.exit_message
