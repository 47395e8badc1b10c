import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory
from ase.build import bulk

from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.evaluation import frames_to_evaluate
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling import Label, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
from aiida_mlip_autopipe.structures.disagreement import ENERGY, LARGEST, MEASURES
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

VERSIONS = contract.Versions(package='0', python='3', ase='3')
COPPER = bulk('Cu', cubic=True)


def frames(n_frames):
    return Trajectory(
        seed_id='seed',
        numbers=COPPER.numbers,
        pbc=COPPER.pbc,
        steps=10 * np.arange(1, n_frames + 1),
        positions=COPPER.positions + 0.01 * np.arange(n_frames)[:, None, None],
        cells=np.tile(COPPER.cell.array, (n_frames, 1, 1)),
        energies=np.zeros(n_frames),
        forces=np.zeros((n_frames, 4, 3)),
        stresses=np.zeros((n_frames, 6)),
        temperatures=np.full(n_frames, 300.0),
    )


@pytest.fixture
def parse(emt_code, tmp_path):
    """Return a function that parses the files of a job on a leg of three frames."""

    def run(result=None, n_evaluated=None, damaged=False, scheduler_status=None):
        process_type = EvaluationCalculation.build_process_type()
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=process_type)
        leg, seed = node_from_trajectory(frames(3), {}).store(), SeedData.from_seed(Seed(COPPER)).store()
        node.base.links.add_incoming(leg, LinkType.INPUT_CALC, 'trajectory')
        node.base.links.add_incoming(seed, LinkType.INPUT_CALC, 'seed')
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
        node.store()
        retrieved = orm.FolderData()
        if result is not None:
            text = result if isinstance(result, str) else result.model_dump_json()
            retrieved.put_object_from_bytes(text.encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        if n_evaluated:
            labels = LabelsFile(tmp_path / LABELS_FILE)
            for frame in frames_to_evaluate(leg, seed)[:n_evaluated]:
                labels.append(label_key(frame, ''), Label(0.0, 'total', np.ones((4, 3))))
        if damaged:
            (tmp_path / LABELS_FILE).write_text('{"key": "label-0"\n')
        parser = ParserFactory('mlip_autopipe.evaluate')
        outputs, process = parser.parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def make_result(**fields):
    return contract.Result(**{'outcome': 'completed', 'versions': VERSIONS, 'calculator_name': 'lj', **fields})


def test_an_evaluation_has_the_labels_of_the_second_calculator_and_the_disagreement(parse):
    outputs, process = parse(make_result(n_frames=3), 3)
    assert process.exit_status == 0
    evaluation = outputs['evaluation']
    assert set(evaluation.get_arraynames()) == {'steps', 'energies', 'forces', *MEASURES}
    np.testing.assert_array_equal(evaluation.get_array('forces'), np.ones((3, 4, 3)))
    np.testing.assert_allclose(evaluation.get_array(LARGEST), np.sqrt(3))
    np.testing.assert_array_equal(evaluation.get_array(ENERGY), 0.0)
    assert evaluation.base.attributes.get('about')['calculator_name'] == 'lj'


def test_frames_that_were_not_evaluated_have_no_disagreement(parse):
    outputs, process = parse(make_result(outcome='out_of_walltime', n_frames=2), 2)
    assert process.exit_status == 400
    assert np.isfinite(outputs['evaluation'].get_array(LARGEST)).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ('result', 'damaged', 'status'),
    [
        (None, False, 300),
        ('{"outcome": "comp', False, 301),
        (make_result(n_frames=3), False, 302),
        (make_result(n_frames=3), True, 303),
        (make_result(outcome='refused', code=Code.CONTRACT_VERSION, message='1, not 2'), False, 310),
        (make_result(outcome='refused', code=Code.ELEMENT_UNSUPPORTED, message='no W'), False, 323),
        (make_result(outcome='refused', code=Code.CALCULATOR_MISSING, message='no'), False, 320),
        (make_result(outcome='refused', code=Code.MODEL_NOT_LOADED, message='no'), False, 321),
        (make_result(outcome='refused', code=Code.MODEL_MISMATCH, message='no'), False, 322),
        (make_result(outcome='failed', message='ZeroDivisionError', traceback='…'), False, 350),
        (make_result(outcome='stopped'), False, 400),
        (make_result(outcome='killed', n_frames=2), False, 300),
        (make_result(outcome='no_frame', message='no neighbour'), False, 411),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, result, damaged, status):
    _, process = parse(result, damaged=damaged)
    assert process.exit_status == status
    if isinstance(result, contract.Result) and result.message:
        assert result.message in process.exit_message


def test_the_exit_code_of_the_scheduler_is_kept(parse):
    _, process = parse(None, scheduler_status=110)
    assert process.exit_status == 0


def test_an_incomplete_evaluation_is_not_taken_from_the_cache():
    codes = EvaluationCalculation.exit_codes
    assert codes.ERROR_OUT_OF_WALLTIME.invalidates_cache
    assert not codes.ERROR_NO_FRAME.invalidates_cache
