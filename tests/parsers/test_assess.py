"""The nodes and exit codes of an assessment job."""

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory
from support.assessments import *  # noqa: F403

from aiida_mlip_autopipe.assessment.contract import HOT_RUN_CHECKPOINT, PROGRESS_FILE, Dimer, Progress
from aiida_mlip_autopipe.calculations.rounds.assess import AssessmentCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.assessment import assessment_from_node, frames_to_assess, other_structures
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling import Failure, Label, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile

PROGRESS = Progress(
    dimers={'Cu-Cu': Dimer(distances_A=(1.0, 2.0), energies_eV=(None, 0.5))},
    hot_runs=[{'seed_id': 'seed', 'outcome': 'unstable', 'n_steps': 7, 'message': 'too hot'}],
)


@pytest.fixture
def parse(emt_code, assessment_inputs, tmp_path):
    """Return a function that parses the files of a job."""

    def run(files=(), **fields):
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=AssessmentCalculation.build_process_type())
        for name in ('dataset', 'rows', 'elements', 'other_chemistry'):
            node.base.links.add_incoming(assessment_inputs[name].store(), LinkType.INPUT_CALC, name)
        for name in ('legs', 'seeds'):
            for label, one in assessment_inputs[name].items():
                node.base.links.add_incoming(one, LinkType.INPUT_CALC, f'{name}__{label}')
        node.store()
        versions = contract.Versions(package='0', python='3', ase='3')
        result = contract.Result(**{'outcome': 'completed', 'versions': versions, 'calculator_name': 'emt', **fields})
        retrieved = orm.FolderData()
        retrieved.put_object_from_bytes(result.model_dump_json().encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        frames = frames_to_assess(assessment_inputs) + other_structures(assessment_inputs)
        if LABELS_FILE in files:
            labels = LabelsFile(tmp_path / LABELS_FILE)
            for number, atoms in enumerate(frames):
                label = Label(float(number), 'total', np.full((4, 3), number), stress_eV_A3=np.zeros(6))
                labels.append(label_key(atoms, ''), Failure('no', 'raised') if number == 1 else label)
        if PROGRESS_FILE in files:
            PROGRESS.write(tmp_path / PROGRESS_FILE)
        if HOT_RUN_CHECKPOINT in files:
            (tmp_path / HOT_RUN_CHECKPOINT).write_bytes(b'state')
        outputs, process = ParserFactory('mlip_autopipe.assess').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def test_an_assessment_has_the_values_of_all_frames_in_order_and_nan_for_failures(parse):
    outputs, process = parse([LABELS_FILE, PROGRESS_FILE])
    assert process.exit_status == 0
    node = outputs['assessment']
    found = assessment_from_node(node)
    np.testing.assert_array_equal(found.frames.energies, [0.0, np.nan, 2.0, 3.0])
    np.testing.assert_array_equal(found.other_chemistry.energies, [4.0, 5.0])
    assert found.frames.finite.tolist() == [True, False, True, True]
    assert found.of_rows([0]).numbers.tolist() == [29] * 4
    np.testing.assert_array_equal(found.dimers['Cu-Cu'].energies_eV, [np.nan, 0.5])
    assert found.hot_runs == PROGRESS.hot_runs
    attributes = node.base.attributes.all
    names = ('n_failed', 'n_other_failed', 'n_hot_runs', 'n_survived', 'rows')
    assert [attributes[name] for name in names] == [1, 0, 1, 0, [2, 0]]
    assert attributes['about']['calculator_name'] == 'emt'


@pytest.mark.parametrize(('outcome', 'status'), [('out_of_walltime', 400), ('stopped', 400), ('killed', 401)])
def test_the_files_of_an_unfinished_job_are_attached_and_no_assessment(parse, outcome, status):
    outputs, process = parse([LABELS_FILE, PROGRESS_FILE, HOT_RUN_CHECKPOINT], outcome=outcome)
    assert (process.exit_status, set(outputs)) == (status, {'result', 'unfinished'})
    names = outputs['unfinished'].base.repository.list_object_names()
    assert sorted(names) == sorted([LABELS_FILE, PROGRESS_FILE, HOT_RUN_CHECKPOINT])
    assert outputs['unfinished'].base.repository.get_object_content(HOT_RUN_CHECKPOINT) == 'state'


@pytest.mark.parametrize(
    ('files', 'fields', 'status'),
    [
        ([PROGRESS_FILE], {}, 302),
        ([], {'outcome': 'stopped'}, 400),
        ([], {'outcome': 'killed'}, 401),
        ([], {'outcome': 'failed', 'message': 'ZeroDivisionError'}, 350),
        ([], {'outcome': 'failed', 'message': 'CUDA out of memory'}, 336),
        ([], {'outcome': 'refused', 'code': Code.ELEMENT_UNSUPPORTED, 'message': 'no Po'}, 323),
        ([], {'outcome': 'refused', 'code': Code.FILE_UNREADABLE, 'message': 'damaged'}, 311),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, files, fields, status):
    outputs, process = parse(files, **fields)
    assert (process.exit_status, set(outputs)) == (status, {'result'})


@pytest.mark.parametrize(('name', 'status'), [(PROGRESS_FILE, 301), (LABELS_FILE, 303)])
def test_a_damaged_file_is_refused(parse, tmp_path, name, status):
    (tmp_path / name).write_text('{"key": \n')
    files = {PROGRESS_FILE, LABELS_FILE} - {name}
    assert parse(files)[1].exit_status == status
