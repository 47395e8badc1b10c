"""The inputs and files of an assessment job, and the job in AiiDA."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.calculators.emt import EMT
from support.assessments import *  # noqa: F403
from support.assessments import EMT_SETTINGS, HOT, make_leg, rattled

from aiida_mlip_autopipe.assessment.contract import AssessmentJob, Progress
from aiida_mlip_autopipe.calculations.rounds.assess import AssessmentCalculation, write_job
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import trajectory_id
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, SEED_FILE
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.labelling.contract import STRUCTURES_FILE
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.structures_file import Structures


def test_the_files_of_a_job_are_its_structures_and_its_seeds(assessment_inputs, tmp_path):
    folder = tmp_path / 'job'
    folder.mkdir()
    environment = Environment.model_validate(assessment_inputs['environment'].get_dict())
    write_job(assessment_inputs, EMT_SETTINGS, folder, environment=environment)
    names = {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}
    assert names == {JOB_FILE, STRUCTURES_FILE, f'hot_run_0/{SEED_FILE}'}
    formulas = [str(atoms.symbols) for atoms in Structures(folder / STRUCTURES_FILE)]
    assert formulas == ['Cu4', 'Cu4', 'Au4', 'Au4', 'Al4', 'Ni4']
    job = AssessmentJob.model_validate_json((folder / JOB_FILE).read_text())
    assert (job.elements, job.hot_runs, len(job.seeds)) == (('Cu',), HOT, 1)


@pytest.mark.parametrize(
    ('changes', 'missing', 'words'),
    [
        ({'rows': [3]}, (), ['rows', ' 3;', ' 2']),
        ({'elements': []}, (), ['elements']),
        ({'hot_runs': {'kind': 'relax'}}, (), ['hot_runs.kind', 'relax']),
        ({'hot_runs': {'n_steps': 0}}, (), ['hot_runs.n_steps']),
        ({'hot_runs': {'temperature_K': [300.0, 900.0]}}, (), ['hot_runs.temperature_K']),
        ({'hot_runs': {'novelty': {'threshold': 0.1}}}, (), ['hot_runs.novelty']),
        ({'random_seed': -1}, (), ['random_seed']),
        ({}, ('rows',), ['rows', 'dataset']),
        ({}, ('dataset',), ['dataset', 'rows']),
        ({}, ('seeds',), ['seeds', 'legs']),
        ({}, ('hot_runs',), ['hot_runs', 'random_seed']),
        ({}, ('dataset', 'rows', 'legs', 'seeds', 'elements', 'other_chemistry', 'hot_seeds', 'hot_runs'), ['dataset']),
    ],
)
def test_invalid_inputs_are_refused(assessment_inputs, changes, missing, words):
    ports = AssessmentCalculation.spec().inputs
    valid = dict(ports.pre_process(dict(assessment_inputs)))
    assert ports.validate(valid) is None
    changed = valid | {name: orm.to_aiida_type(value) for name, value in changes.items()}
    for name in missing:
        del changed[name]
    message = ports.validate(changed).message
    assert [word for word in words if word not in message] == []


def test_a_leg_whose_seed_is_missing_is_refused(assessment_inputs):
    other = SeedData.from_seed(Seed(rattled('Cu', 9))).store()
    ports = AssessmentCalculation.spec().inputs
    legs = {'leg': assessment_inputs['legs']['leg'], 'other': make_leg(other).store()}
    message = ports.validate(dict(ports.pre_process(assessment_inputs | {'legs': legs}))).message
    assert other.seed_id in message


def test_unfinished_assessments_are_not_taken_from_the_cache():
    codes = AssessmentCalculation.exit_codes
    assert all(code.invalidates_cache for code in (codes.ERROR_OUT_OF_WALLTIME, codes.ERROR_KILLED))


@pytest.mark.integration
def test_a_job_assesses_rows_legs_dimers_other_structures_and_hot_runs(assessment_inputs):
    outputs, node = run_get_node(AssessmentCalculation, **assessment_inputs)
    assert node.is_finished_ok, node.exit_message
    found = assessment_from_node(outputs['assessment'])
    assert (found.rows, list(found.dimers), [one.survived for one in found.hot_runs]) == ((2, 0), ['Cu-Cu'], [True])
    for row, atoms in ((2, rattled('Cu', 3)), (0, rattled('Cu', 1))):
        atoms.calc = EMT()
        np.testing.assert_allclose(found.of_rows([row]).forces, atoms.get_forces(), atol=1e-12)
    leg = assessment_inputs['legs']['leg']
    of_leg = found.of_trajectory(trajectory_id(leg))
    assert (len(of_leg), of_leg.finite.all(), set(of_leg.numbers.tolist())) == (2, True, {79})
    assert sorted(set(found.other_chemistry.numbers.tolist())) == [13, 28]
    assert outputs['assessment'].base.attributes.get('about')['calculator_name'] == 'emt'
    with pytest.raises(KeyError):
        found.of_rows([1])


@pytest.mark.integration
def test_a_job_continues_from_the_files_of_a_job_that_was_stopped(assessment_inputs):
    run = {'seed_id': assessment_inputs['hot_seeds']['seed'].seed_id, 'outcome': 'unstable', 'n_steps': 3}
    unfinished = orm.FolderData()
    unfinished.put_object_from_bytes(Progress(hot_runs=[run]).model_dump_json().encode(), 'assessment.json')
    outputs, node = run_get_node(AssessmentCalculation, **assessment_inputs, unfinished=unfinished)
    assert node.is_finished_ok, node.exit_message
    found = assessment_from_node(outputs['assessment'])
    assert [(one.survived, one.n_steps) for one in found.hot_runs] == [(False, 3)]
    assert found.frames.finite.all()
