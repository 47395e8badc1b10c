"""The nodes and exit codes of a training job."""

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory

from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.training.contract import CHECKPOINT_FILE, TRAINING_FILE, Epoch, Training
from aiida_mlip_autopipe.training.work_folder import pack_checkpoint, write_state

REPORT = Training(
    trainer='sevennet',
    trainer_version='0.13.0',
    n_frames={'train': 3, 'valid': 1},
    epochs=(Epoch(epoch=1, valid_loss=0.5),),
    best_epoch=1,
    elements=('Si',),
    cutoff_A=5.0,
)


@pytest.fixture
def parse(emt_code, tmp_path):
    """Return a function that parses the files of a job."""

    def run(files=(), **fields):
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=TrainingCalculation.build_process_type())
        settings = orm.Dict({'kind': 'sevennet'}).store()
        node.base.links.add_incoming(settings, LinkType.INPUT_CALC, 'training')
        node.store()
        versions = contract.Versions(package='0', python='3', ase='3')
        result = contract.Result(**{'outcome': 'completed', 'versions': versions, **fields})
        retrieved = orm.FolderData()
        retrieved.put_object_from_bytes(result.model_dump_json().encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        contents = {'trained.pth': 'weights', TRAINING_FILE: REPORT.model_dump_json()}
        for name in files:
            (tmp_path / name).write_text(contents.get(name, '{'))
        outputs, process = ParserFactory('mlip_autopipe.train').parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def test_the_model_and_the_report_of_a_finished_training_job_are_attached(parse):
    outputs, process = parse(['trained.pth', TRAINING_FILE])
    assert process.exit_status == 0
    model = outputs['trained']
    assert (model.architecture, model.name, model.has_bytes) == ('sevennet', 'trained.pth', True)
    assert model.base.attributes.get('elements') == ['Si']
    assert model.base.attributes.get('cutoff_A') == 5.0
    assert model.base.attributes.get('versions') == {'sevennet': '0.13.0'}
    assert Training.model_validate(outputs['report'].get_dict()) == REPORT


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a checkpoint, and returns its content."""

    def write():
        (tmp_path / 'work').mkdir()
        write_state(tmp_path / 'work', REPORT)
        (tmp_path / 'work' / 'epoch_1.pth').write_bytes(b'weights')
        pack_checkpoint(tmp_path / CHECKPOINT_FILE, (tmp_path / 'work').iterdir())
        return (tmp_path / CHECKPOINT_FILE).read_bytes()

    return write


@pytest.mark.parametrize(
    ('fields', 'status'),
    [
        ({'outcome': 'out_of_walltime'}, 400),
        ({'outcome': 'killed'}, 401),
        ({'outcome': 'failed', 'message': 'CUDA out of memory'}, 336),
    ],
)
def test_a_training_job_that_ended_early_has_its_checkpoint_and_no_model(parse, checkpoint, fields, status):
    content = checkpoint()
    outputs, process = parse(['trained.pth', TRAINING_FILE], last_step=1, **fields)
    assert (process.exit_status, set(outputs)) == (status, {'result', 'checkpoint'})
    assert outputs['checkpoint'].get_content(mode='rb') == content


@pytest.mark.parametrize('outcome', ['killed', 'stopped', 'out_of_walltime'])
def test_a_damaged_or_missing_checkpoint_is_not_continued(parse, checkpoint, tmp_path, outcome):
    assert parse(outcome=outcome, last_step=1)[1].exit_status == 304
    content = checkpoint()
    for damaged in (b'no archive', content[:700]):
        (tmp_path / CHECKPOINT_FILE).write_bytes(damaged)
        outputs, process = parse(outcome=outcome, last_step=1)
        assert (process.exit_status, set(outputs)) == (304, {'result'})


@pytest.mark.parametrize(
    ('files', 'fields', 'status'),
    [
        ([TRAINING_FILE], {}, 301),
        (['trained.pth'], {}, 301),
        ([], {'outcome': 'stopped'}, 400),
        ([], {'outcome': 'killed'}, 401),
        ([], {'outcome': 'failed', 'code': Code.TRAINING_FAILED, 'message': 'exit status 1'}, 420),
        ([], {'outcome': 'failed', 'code': Code.TRAINING_FAILED, 'message': 'CUDA out of memory'}, 336),
        ([], {'outcome': 'refused', 'code': Code.CHECKPOINT_UNREADABLE, 'message': 'damaged'}, 304),
        ([], {'outcome': 'refused', 'code': Code.ELEMENT_UNSUPPORTED, 'message': 'no Po'}, 323),
        ([], {'outcome': 'refused', 'code': Code.VALUE_INVALID, 'message': 'several levels'}, 311),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, files, fields, status):
    outputs, process = parse(files, **fields)
    assert (process.exit_status, set(outputs)) == (status, {'result'})


def test_a_damaged_report_is_refused(parse, tmp_path):
    (tmp_path / TRAINING_FILE).write_text('{')
    (tmp_path / 'trained.pth').write_text('weights')
    assert parse()[1].exit_status == 301
