"""Evaluation jobs: a second calculator evaluates the frames of a run."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io.trajectory import TrajectoryReader
from support.environments import environment_of

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.calculators.kinds.lj import LennardJonesLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import EVALUATION_VERSION
from aiida_mlip_autopipe.exploration.evaluate import evaluate_frames
from aiida_mlip_autopipe.exploration.files.trajectory_file import read_trajectory, write_trajectory
from aiida_mlip_autopipe.jobs.contract import (
    EVALUATION_FILE,
    JOB_FILE,
    RESULT_FILE,
    STOP_FILE,
    TRAJECTORY_FILE,
    EvaluationJob,
    Result,
)
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.structures.disagreement import LARGEST, compare_labels

LJ = {'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3}


@pytest.fixture
def evaluation(job_folder, copper, tmp_path):
    """Explore copper with EMT, and return a function that runs an evaluation job on its ten frames."""
    run = job_folder('explored').write(copper, {'n_steps': 20})
    run.run()
    folder = tmp_path / 'evaluated'
    folder.mkdir()
    shutil.copy(run.path / TRAJECTORY_FILE, folder)

    def evaluate(calculator=LJ, **changes):
        job = EvaluationJob(
            environment=environment_of(calculator),
            evaluation_version=EVALUATION_VERSION,
            seed_id='seed',
            calculator=calculator,
        )
        (folder / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json') | changes))
        return run_job(folder / JOB_FILE, evaluate_frames)

    evaluate.folder = folder
    return evaluate


def results_of(folder, name=EVALUATION_FILE):
    return read_trajectory(folder / name, 'seed')


def test_every_frame_has_the_results_of_the_second_calculator(evaluation):
    result = evaluation()
    assert result == Result.model_validate_json((evaluation.folder / RESULT_FILE).read_text())
    assert (result.outcome, result.n_frames, result.force_calls, result.calculator_name) == ('completed', 10, 10, 'lj')
    first, second = results_of(evaluation.folder, TRAJECTORY_FILE), results_of(evaluation.folder)
    assert second.steps.tolist() == first.steps.tolist()
    lj = CALCULATORS.load('lj')
    calculator = lj(lj.settings_class.model_validate(LJ)).load().calculator
    for index in range(10):
        atoms = first.frame(index)
        atoms.calc = calculator
        assert second.energies[index] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        assert second.forces[index] == pytest.approx(atoms.get_forces(), abs=1e-12)
    assert (compare_labels(first, second)[LARGEST] > 0.01).all()


def test_the_exploring_calculator_agrees_with_itself(evaluation):
    evaluation({'kind': 'emt'})
    measures = compare_labels(results_of(evaluation.folder, TRAJECTORY_FILE), results_of(evaluation.folder))
    assert max(array.max() for array in measures.values()) < 1e-10


def test_a_job_restarted_in_its_folder_continues_after_the_last_frame(evaluation):
    uninterrupted = evaluation()
    complete = results_of(evaluation.folder)
    path = evaluation.folder / EVALUATION_FILE
    # The file of a killed process: some frames, and a truncated one.
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(0.6 * size)])
    result = evaluation()
    assert uninterrupted.force_calls == 10
    assert (result.outcome, result.n_frames) == ('completed', 10)
    assert 0 < result.force_calls < 10
    again = results_of(evaluation.folder)
    np.testing.assert_array_equal(again.forces, complete.forces)
    np.testing.assert_array_equal(again.steps, complete.steps)


def test_a_stopped_job_can_be_run_again_and_a_finished_job_evaluates_nothing(evaluation):
    (evaluation.folder / STOP_FILE).touch()
    result = evaluation()
    assert (result.outcome, result.n_frames) == ('stopped', 0)
    (evaluation.folder / STOP_FILE).unlink()
    assert (evaluation().outcome, evaluation().force_calls) == ('completed', 0)


class Fussy(EMT):
    """Fails at every frame, or from the third frame on."""

    calls = 0
    good = 2

    def calculate(self, *args, **kwargs):
        type(self).calls += 1
        if self.calls > self.good:
            raise ValueError('no neighbour')
        super().calculate(*args, **kwargs)


@pytest.mark.parametrize('good', [2, 0])
def test_only_a_frame_that_cannot_be_evaluated_has_no_results(evaluation, monkeypatch, good):
    monkeypatch.setattr(Fussy, 'calls', 0)
    monkeypatch.setattr(Fussy, 'good', good)
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(Fussy()))
    result = evaluation({'kind': 'emt'})
    assert result.n_frames == 10
    assert result.statistics['n_not_evaluated'] == 10 - good
    assert result.events[0].message == 'ValueError: no neighbour'
    assert np.isfinite(results_of(evaluation.folder).energies).sum() == good
    expected = ('completed', '') if good else ('no_frame', 'ValueError: no neighbour')
    assert (result.outcome, result.message) == expected


@pytest.mark.parametrize(
    ('changes', 'code', 'values'),
    [
        ({'contract_version': 99}, Code.CONTRACT_VERSION, ['job.json', '99']),
        ({'evaluation_version': '0'}, Code.CONTRACT_VERSION, ['job.json', ' 0 ', 'evaluation']),
        ({'calculator': {'kind': 'ljj'}}, Code.KIND_UNKNOWN, ['calculator', "'ljj'"]),
        ({'image_sha256': 'a' * 64}, Code.MODEL_MISMATCH, ['image', 'a' * 12]),
        ({'trajectory': 'other.traj'}, Code.FILE_UNREADABLE, ['other.traj']),
        ({'calculator': {'kind': 'sevennet', 'model': '/no/such.pth'}}, Code.MODEL_NOT_LOADED, ['/no/such.pth']),
    ],
)
def test_an_invalid_job_is_refused(evaluation, changes, code, values):
    result = evaluation(**changes)
    assert (result.outcome, result.code) == ('refused', code)
    assert [value for value in values if value not in result.message] == []


def test_an_element_that_the_second_calculator_does_not_support_is_refused(evaluation, monkeypatch):
    monkeypatch.setattr(LennardJonesLoader, 'load', lambda loader: Loaded(EMT(), elements=frozenset({79})))
    result = evaluation()
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert "'lj'" in result.message
    assert ' Cu' in result.message


def test_a_written_trajectory_is_read_back_exactly(job_folder, slab, tmp_path):
    run = job_folder().write(slab, {'n_steps': 6})
    run.run()
    frames = run.frames()
    write_trajectory(tmp_path / 'copy.traj', frames, slab)
    copy = read_trajectory(tmp_path / 'copy.traj', 'seed')
    for name in ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures', 'numbers', 'pbc'):
        np.testing.assert_array_equal(getattr(copy, name), getattr(frames, name))
    assert copy.extra.keys() == frames.extra.keys()
    with TrajectoryReader(tmp_path / 'copy.traj') as reader:
        assert reader[0].constraints[0].index.tolist() == slab.constraints[0].index.tolist()
        assert reader[0].get_tags().tolist() == slab.get_tags().tolist()


@pytest.mark.mlip
def test_two_models_for_copper_agree_better_than_models_for_different_elements(job_folder):
    """SevenNet and CHGNet were trained on copper, among others. Lennard-Jones has the parameters of argon."""
    atoms = bulk('Cu', cubic=True)
    atoms.rattle(0.1, seed=3)
    run = job_folder().write(
        atoms, {'n_steps': 2, 'relaxation': None, 'temperature_K': 300}, calculator={'kind': 'sevennet'}
    )
    assert run.run().outcome == 'completed'
    first = run.frames()
    medians = {}
    for calculator in ({'kind': 'chgnet'}, {'kind': 'lj', 'epsilon_eV': 0.01, 'sigma_A': 3.4, 'cutoff_A': 8.0}):
        job = EvaluationJob(
            environment=environment_of(calculator),
            evaluation_version=EVALUATION_VERSION,
            seed_id='seed',
            calculator=calculator,
        )
        (run.path / JOB_FILE).write_text(job.model_dump_json())
        (run.path / EVALUATION_FILE).unlink(missing_ok=True)
        assert run_job(run.path / JOB_FILE, evaluate_frames).outcome == 'completed'
        medians[calculator['kind']] = float(np.median(compare_labels(first, results_of(run.path))[LARGEST]))
    assert 0.01 < medians['chgnet'] < 0.5 * medians['lj']
