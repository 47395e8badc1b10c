"""Assessment jobs: frames, dimers, hot runs, failures, and jobs that are stopped and continued."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io.trajectory import TrajectoryWriter
from support.environments import environment_of

from aiida_mlip_autopipe.assessment.contract import (
    HOT_RUN_CHECKPOINT,
    PROGRESS_FILE,
    UNFINISHED,
    AssessmentJob,
    Progress,
    hot_run_folder,
)
from aiida_mlip_autopipe.assessment.job import assess
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, JOB_FILE, SEED_FILE, STOP_FILE, JobSeed
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.jobs.version import ASSESSMENT_VERSION
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.rounds.dimers import evaluate_dimers
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.structures_file import structure_arrays

EMT_SETTINGS = {'kind': 'emt'}
# The minimum of this pair potential is far outside of the bonds of copper, so the crystal explodes.
SPOILED = {'kind': 'lj', 'epsilon_eV': 5.0, 'sigma_A': 3.4}
HOT = {'temperature_K': 1500.0, 'n_steps': 40, 'frame_interval': 10, 'checkpoint_interval': 10}


def make_frames() -> list[Atoms]:
    gold = bulk('Cu', cubic=True)
    gold.numbers[0] = 79
    frames = [bulk('Cu', cubic=True), gold, Atoms('Cu2', [[0, 0, 0], [0, 0, 2.5]])]
    for number, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=number)
    return frames


class Folder:
    """The folder of an assessment job."""

    def __init__(self, path: Path, frames=(), seeds=()):
        path.mkdir()
        self.path, self.frames, self.seeds = path, list(frames), list(seeds)
        np.savez(path / STRUCTURES_FILE, **structure_arrays(self.frames))
        for number, atoms in enumerate(self.seeds):
            (path / hot_run_folder(number)).mkdir()
            with TrajectoryWriter(path / hot_run_folder(number) / SEED_FILE) as file:
                file.write(atoms)

    def run(self, calculator=EMT_SETTINGS, hot_runs=None, **changes):
        job = AssessmentJob(
            environment=environment_of(calculator),
            assessment_version=ASSESSMENT_VERSION,
            calculator=calculator,
            seeds=tuple(JobSeed(seed_id=Seed(one).seed_id, random_seed=5) for one in self.seeds),
            hot_runs=(HOT | (hot_runs or {})) if self.seeds else {},
        )
        (self.path / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json') | changes))
        return run_job(self.path / JOB_FILE, assess)

    def predictions(self):
        outcomes = read_labels(self.path / LABELS_FILE)
        return Predictions.from_outcomes(self.frames, [outcomes.get(label_key(one, '')) for one in self.frames])

    def progress(self):
        return Progress.read(self.path / PROGRESS_FILE)

    def continue_in(self, path):
        """Return the folder of another job that continues from the files of this one."""
        other = Folder(path, self.frames, self.seeds)
        for name in UNFINISHED:
            if (self.path / name).is_file():
                shutil.copyfile(self.path / name, path / name)
        return other


@pytest.fixture
def make_folder(tmp_path):
    return lambda name='job', **contents: Folder(tmp_path / name, **contents)


def test_the_predictions_are_those_of_the_calculator_in_the_order_of_the_frames(make_folder):
    folder = make_folder(frames=make_frames())
    result = folder.run()
    assert (result.outcome, result.n_frames, result.force_calls) == ('completed', 3, 3)
    found = folder.predictions()
    assert found.n_atoms.tolist() == [4, 4, 2]
    for number, atoms in enumerate(make_frames()):
        atoms.calc = EMT()
        one = found.subset([number])
        assert one.energies[0] == atoms.get_potential_energy()
        np.testing.assert_array_equal(one.forces, atoms.get_forces())
        assert np.isfinite(one.stresses).all() == atoms.pbc.all()
        np.testing.assert_array_equal(one.numbers, atoms.numbers)
    assert found.finite.all()


def test_a_frame_that_cannot_be_evaluated_has_no_values_and_is_counted(make_folder):
    frames = make_frames()
    frames[1].set_cell(np.full(3, 0.1))
    folder = make_folder(frames=frames)
    result = folder.run()
    assert (result.outcome, result.n_frames, result.statistics['n_failed']) == ('completed', 3, 1)
    assert [event.rule for event in result.events] == ['not_finite']
    found = folder.predictions()
    assert found.finite.tolist() == [True, False, True]
    assert np.isnan(found.subset([1]).forces).all()


def test_a_model_that_fails_for_all_frames_is_assessed_all_the_same(make_folder):
    frames = make_frames()[:2]
    for atoms in frames:
        atoms.set_cell(np.full(3, 0.1))
    result = make_folder(frames=frames).run()
    assert (result.outcome, result.statistics['n_failed']) == ('completed', 2)


def test_the_dimers_of_all_pairs_are_computed(make_folder):
    folder = make_folder()
    result = folder.run(elements=['Cu', 'Au'])
    assert (result.outcome, result.statistics['n_dimers']) == ('completed', 3)
    expected = evaluate_dimers(EMT(), ['Cu', 'Au'])
    found = {pair: dimer.curve for pair, dimer in folder.progress().dimers.items()}
    assert found.keys() == expected.keys()
    for pair, curve in expected.items():
        np.testing.assert_array_equal(found[pair].distances_A, curve.distances_A)
        np.testing.assert_array_equal(found[pair].energies_eV, curve.energies_eV)


def test_a_dimer_that_the_calculator_refuses_has_no_energies(make_folder, monkeypatch):
    monkeypatch.setattr(EMT, 'calculate', lambda *_: (_ for _ in ()).throw(RuntimeError('no neighbours')))
    folder = make_folder()
    result = folder.run(elements=['Cu'])
    assert (result.outcome, [event.rule for event in result.events]) == ('completed', ['not_finite'])
    assert folder.progress().dimers['Cu-Cu'].curve.hole_depth_eV == np.inf


def test_a_stable_model_survives_hot_runs_and_a_spoiled_one_does_not(make_folder):
    seeds = [bulk('Cu', cubic=True), bulk('Cu', cubic=True) * (2, 1, 1)]
    stable, spoiled = make_folder('stable', seeds=seeds), make_folder('spoiled', seeds=seeds)
    result = stable.run()
    assert (result.outcome, result.statistics['n_hot_runs'], result.statistics['n_survived']) == ('completed', 2, 2)
    assert [(one.survived, one.n_steps) for one in stable.progress().hot_runs] == [(True, 40), (True, 40)]
    assert [one.seed_id for one in stable.progress().hot_runs] == [Seed(atoms).seed_id for atoms in seeds]
    result = spoiled.run(SPOILED)
    assert (result.outcome, result.statistics['n_survived']) == ('completed', 0)
    assert all(one.message and one.n_steps < 40 for one in spoiled.progress().hot_runs)


def test_a_seed_that_the_calculator_cannot_evaluate_does_not_survive(make_folder, monkeypatch):
    monkeypatch.setattr(EMT, 'calculate', lambda *_: (_ for _ in ()).throw(RuntimeError('no neighbours')))
    folder = make_folder(seeds=[bulk('Cu', cubic=True)])
    assert folder.run().outcome == 'completed'
    assert [(one.outcome, one.n_steps) for one in folder.progress().hot_runs] == [('no_frame', 0)]


def test_a_job_that_is_stopped_in_a_hot_run_is_continued_exactly_by_another_one(make_folder, tmp_path, monkeypatch):
    seeds = [bulk('Cu', cubic=True), bulk('Au', cubic=True)]
    whole = make_folder('whole', frames=make_frames(), seeds=seeds)
    positions = {}
    run = Simulation.run

    def run_and_record(simulation):
        outcome = run(simulation)
        positions.setdefault(simulation.prepared.job.seeds[0].seed_id, []).append(simulation.system.positions)
        return outcome

    monkeypatch.setattr(Simulation, 'run', run_and_record)
    assert whole.run(elements=['Cu']).outcome == 'completed'
    expected = {name: found.pop() for name, found in positions.items()}
    first = make_folder('first', frames=make_frames(), seeds=seeds)
    with monkeypatch.context() as patch:
        check = Interruptions.check

        def stop(interruptions, next_step_s=0.0):
            steps = (first.path / hot_run_folder(0) / CHECKPOINT_FILE).exists()
            if steps:
                interruptions.message = 'stopped by a test'
            return 'stopped' if steps else check(interruptions, next_step_s)

        patch.setattr(Interruptions, 'check', stop)
        result = first.run(elements=['Cu'])
    assert (result.outcome, result.message.startswith('stopped by a test')) == ('stopped', True)
    assert (first.progress().hot_runs, list(first.progress().dimers)) == ((), ['Cu-Cu'])
    second = first.continue_in(tmp_path / 'second')
    result = second.run(elements=['Cu'])
    # Two runs of 40 steps from their seeds need 82 evaluations.
    assert (result.outcome, result.force_calls < 80) == ('completed', True)
    assert second.progress() == whole.progress()
    for name, found in positions.items():
        np.testing.assert_array_equal(found[-1], expected[name])
    assert not (second.path / HOT_RUN_CHECKPOINT).exists()
    np.testing.assert_array_equal(second.predictions().forces, whole.predictions().forces)


def test_a_job_is_stopped_before_its_first_frame_by_a_stop_file(make_folder):
    folder = make_folder(frames=make_frames())
    (folder.path / STOP_FILE).touch()
    result = folder.run()
    assert (result.outcome, result.n_frames) == ('stopped', 0)


@pytest.mark.parametrize(
    ('changes', 'code'),
    [
        ({'hot_runs': {'temperature_K': -1.0}}, Code.SETTINGS_REFUSED),
        ({'elements': ['W']}, Code.ELEMENT_UNSUPPORTED),
        ({'assessment_version': '0'}, Code.CONTRACT_VERSION),
    ],
)
def test_an_impossible_job_is_refused(make_folder, changes, code):
    folder = make_folder(seeds=[bulk('Cu', cubic=True)])
    result = folder.run(**changes)
    assert (result.outcome, result.code) == ('refused', code)


@pytest.mark.parametrize('name', [PROGRESS_FILE, LABELS_FILE, STRUCTURES_FILE])
def test_a_damaged_file_is_refused(make_folder, name):
    folder = make_folder(frames=make_frames())
    (folder.path / name).write_text('{"key": \n')
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.FILE_UNREADABLE)
