"""7net-0 with perturbed weights is refused, on silicon with labels by GPAW."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from ase.io.trajectory import TrajectoryWriter
from support.environments import environment_of
from support.silicon import LABELS

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.contract import PROGRESS_FILE, AssessmentJob, Progress, hot_run_folder
from aiida_mlip_autopipe.assessment.job import assess
from aiida_mlip_autopipe.assessment.judge import TestSet, judge_model
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculators import CALCULATORS, resolve_model
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, SEED_FILE, JobSeed
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.jobs.version import ASSESSMENT_VERSION
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.structures.structures_file import structure_arrays

pytestmark = pytest.mark.mlip

CALCULATOR = {'kind': 'sevennet', 'model': '7net-0', 'device': 'cpu'}


@pytest.fixture(scope='module')
def spoiled(tmp_path_factory):
    """Return the file of 7net-0 with weights that were changed by a tenth of their standard deviation."""
    import torch

    settings = CALCULATORS.load('sevennet').settings_class.model_validate(CALCULATOR)
    checkpoint = torch.load(resolve_model(settings), map_location='cpu', weights_only=False)
    generator = torch.Generator().manual_seed(1)
    # The model also stores constants, such as the Wigner 3j symbols, which SevenNet checks.
    for name, values in checkpoint['model_state_dict'].items():
        if name.endswith('weight') and values.numel() > 1:
            values += 0.1 * values.std() * torch.randn(values.shape, generator=generator, dtype=values.dtype)
    path = tmp_path_factory.mktemp('models') / 'spoiled.pth'
    torch.save(checkpoint, path)
    return str(path)


@pytest.fixture(scope='module')
def silicon():
    return read(LABELS, ':6')


@pytest.fixture
def assess_model(tmp_path, silicon):
    """Return a function that assesses a model in a job: six silicon cells, two other crystals, a dimer, a hot run."""
    seed, others = bulk('Si', cubic=True), [bulk('NaCl', 'rocksalt', a=5.5), bulk('MgO', 'rocksalt', a=4.1)]
    for atoms in (seed, *others):
        atoms.rattle(0.08, seed=3)

    def run(name, model):
        folder = tmp_path / name
        (folder / hot_run_folder(0)).mkdir(parents=True)
        with TrajectoryWriter(folder / hot_run_folder(0) / SEED_FILE) as file:
            file.write(seed)
        np.savez(folder / STRUCTURES_FILE, **structure_arrays([*silicon, *others]))
        job = AssessmentJob(
            environment=environment_of(CALCULATOR),
            assessment_version=ASSESSMENT_VERSION,
            calculator=CALCULATOR | {'model': model},
            elements=('Si',),
            seeds=(JobSeed(seed_id='silicon', random_seed=5),),
            hot_runs={'temperature_K': 900.0, 'n_steps': 20},
        )
        (folder / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json')))
        result = run_job(folder / JOB_FILE, assess)
        assert result.outcome == 'completed', result.message
        assert result.statistics['n_failed'] == 0
        outcomes = read_labels(folder / LABELS_FILE)
        progress = Progress.read(folder / PROGRESS_FILE)
        frames, other_chemistry = (
            Predictions.from_outcomes(found, [outcomes[label_key(atoms, '')] for atoms in found])
            for found in (silicon, others)
        )
        dimers = {pair: one.curve for pair, one in progress.dimers.items()}
        return Assessment(frames, tuple(range(6)), {}, other_chemistry, dimers, progress.hot_runs)

    return run


def test_a_model_with_perturbed_weights_is_refused_and_an_unchanged_model_is_not_better(assess_model, spoiled, silicon):
    labels = [atoms.calc.results for atoms in silicon]
    test = TestSet(
        range(6),
        Predictions.from_arrays(
            [atoms.numbers for atoms in silicon],
            *([one[name] for one in labels] for name in ('energy', 'forces', 'stress')),
        ),
        [f'cell-{number}' for number in range(6)],
    )
    starting, new = assess_model('starting', '7net-0'), assess_model('spoiled', spoiled)
    found = judge_model(new, starting, starting, test, 1)
    refused = {one['condition'] for one in found['failures']}
    assert {'smaller_error', 'other_chemistries'} <= refused
    assert found['errors']['new']['force_eV_A']['value'] > found['errors']['former']['force_eV_A']['value']
    assert found['drift_eV_A'] > 0.02
    unchanged = judge_model(starting, starting, starting, test, 1)
    assert [one['condition'] for one in unchanged['failures']] == ['smaller_error']
    assert (unchanged['gain']['value'], unchanged['drift_eV_A']) == (0.0, 0.0)
    assert unchanged['n_survived'] == 1
