import json

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.plugins import ParserFactory
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory as TrajectoryFile

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.files.trajectory_file import TRAJECTORY_FILE_VERSION
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.structures.seed import Seed

VERSIONS = contract.Versions(package='0', python='3', ase='3')


def write_trajectory(path, n_frames=2):
    atoms = bulk('Cu', cubic=True)
    atoms.calc = EMT()
    with TrajectoryFile(path, 'w') as file:
        file.set_description({'trajectory_version': TRAJECTORY_FILE_VERSION})
        for step in range(1, n_frames + 1):
            atoms.rattle(0.01, seed=step)
            frame = atoms.copy()
            frame.info = {'step': 10 * step, 'time_fs': 25.0 * step, 'temperature_K': 300.0}
            frame.calc = SinglePointCalculator(
                frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces(), stress=atoms.get_stress()
            )
            file.write(frame)


@pytest.fixture
def parse(emt_code, tmp_path):
    """Return a function that parses the files of a job, with the exit status of the scheduler's parser, if any."""

    def run(result=None, files=(), scheduler_status=None, scheduler_stderr='', log='', state=''):
        node = orm.CalcJobNode(computer=emt_code.computer, process_type=ExplorationCalculation.build_process_type())
        seed = SeedData.from_seed(Seed(bulk('Cu', cubic=True), {'kind': 'structures'})).store()
        node.base.links.add_incoming(seed, LinkType.INPUT_CALC, 'seed')
        if scheduler_status is not None:
            node.set_exit_status(scheduler_status)
        node.set_option('scheduler_stderr', '_scheduler-stderr.txt')
        if state:
            node.set_detailed_job_info({'retval': 0, 'stderr': '', 'stdout': f'JobID|State|\n5|{state}|\n'})
        node.store()
        retrieved = orm.FolderData()
        for name, text in (('_scheduler-stderr.txt', scheduler_stderr), ('exploration.log', log)):
            if text:
                retrieved.put_object_from_bytes(text.encode(), name)
        if result is not None:
            text = result if isinstance(result, str) else result.model_dump_json()
            retrieved.put_object_from_bytes(text.encode(), contract.RESULT_FILE)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, 'retrieved')
        retrieved.store()
        for name, write in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write(tmp_path / name)
        parser = ParserFactory('mlip_autopipe.explore')
        outputs, process = parser.parse_from_node(
            node, store_provenance=False, retrieved_temporary_folder=str(tmp_path)
        )
        # AiiDA returns a single output of this name without a dictionary.
        return ({'result': outputs} if isinstance(outputs, orm.Dict) else outputs), process

    return run


def make_result(**fields):
    return contract.Result(**{'outcome': 'completed', 'versions': VERSIONS, 'timestep_fs': 2.0, **fields})


def write_checkpoint(step, n_atoms=4, n_frames=0):
    state = dict.fromkeys(('positions', 'momenta', 'forces', 'last_frame'), np.zeros((n_atoms, 3)))
    counters = {'leg': {'n_frames': n_frames}}
    checkpoint = Checkpoint(
        job_hash='hash',
        step=step,
        time_fs=2.0 * step,
        numbers=np.full(n_atoms, 29),
        cell=np.eye(3),
        stress=np.zeros(6),
        energy=0.0,
        cell_momentum=0.0,
        rng_state={},
        counters=counters,
        **state,
    )
    return (contract.CHECKPOINT_FILE, checkpoint.write)


FRAMES = (contract.TRAJECTORY_FILE, write_trajectory)
CHECKPOINT = write_checkpoint(20)


def test_the_outputs_of_a_completed_job_are_its_frames_result_and_checkpoint(parse):
    outputs, process = parse(make_result(n_frames=2, ensemble='npt', calculator_name='emt'), [FRAMES, CHECKPOINT])
    assert process.exit_status == 0
    np.testing.assert_array_equal(outputs['trajectory'].get_stepids(), [10, 20])
    assert outputs['trajectory'].get_array('forces').shape == (2, 4, 3)
    assert outputs['trajectory'].base.attributes.get('about')['ensemble'] == 'npt'
    np.testing.assert_allclose(outputs['trajectory'].get_times(), [0.025, 0.05])
    with outputs['checkpoint'].as_path() as path:
        assert Checkpoint.read(path).step == 20
    assert outputs['result']['outcome'] == 'completed'


@pytest.mark.parametrize(
    ('result', 'files', 'status'),
    [
        (None, [], 300),
        ('{"outcome": "comp', [], 301),
        ('{"outcome": "no such outcome"}', [], 301),
        (make_result(n_frames=2), [], 302),
        (
            make_result(n_frames=2),
            [(contract.TRAJECTORY_FILE, lambda path: path.write_bytes(b'- of Ulm truncated'))],
            303,
        ),
        (make_result(outcome='refused', code=Code.CONTRACT_VERSION, message='1, not 2'), [], 310),
        (make_result(outcome='refused', code=Code.SETTINGS_REFUSED, message='no'), [], 311),
        (make_result(outcome='refused', code=Code.KIND_UNKNOWN, message='no'), [], 311),
        (make_result(outcome='refused', code=Code.CHECKPOINT_UNREADABLE, message='no'), [], 304),
        (make_result(outcome='refused', code=Code.CALCULATOR_MISSING, message='no'), [], 320),
        (make_result(outcome='refused', code=Code.MODEL_NOT_LOADED, message='no'), [], 321),
        (make_result(outcome='refused', code=Code.MODEL_MISMATCH, message='no'), [], 322),
        (make_result(outcome='refused', code=Code.ELEMENT_UNSUPPORTED, message='no'), [], 323),
        (make_result(outcome='failed', message='ZeroDivisionError', traceback='…'), [], 350),
        (make_result(outcome='out_of_walltime', n_frames=2), [FRAMES, CHECKPOINT], 400),
        (make_result(outcome='stopped', n_frames=2), [FRAMES, CHECKPOINT], 400),
        (make_result(outcome='unstable', n_frames=2, message='too hot'), [FRAMES, CHECKPOINT], 410),
        (make_result(outcome='no_frame', message='NaN'), [], 411),
    ],
)
def test_each_failure_has_a_specific_exit_code(parse, result, files, status):
    outputs, process = parse(result, files)
    assert process.exit_status == status
    assert process.exit_message
    if isinstance(result, contract.Result):
        assert 'result' in outputs
        if result.message:
            assert result.message in process.exit_message
    if FRAMES in files:
        assert 'trajectory' in outputs
        assert 'checkpoint' in outputs


def test_the_exit_code_of_the_scheduler_is_kept(parse):
    """For example, the job ran out of memory and was killed before it wrote a result. The parser sets no exit code."""
    _, process = parse(None, scheduler_status=110)
    assert process.exit_status == 0


NOTES = 'INFO:    fuse2fs not found, will not be able to mount EXT3 filesystems\n'


@pytest.mark.parametrize(
    ('line', 'status'),
    [
        ('FATAL:   While checking container encryption: could not open image /x.sif: failed to retrieve path', 330),
        ('FATAL:   While checking container encryption: could not open image /x.sif: image format not recognized', 330),
        ('FATAL:   container creation failed: image driver mount failure: image driver squashfuse_ll exited', 330),
        ('FATAL:   stat /nowhere/python: no such file or directory', 331),
        ('FATAL:   "pythonx": executable file not found in $PATH', 331),
        ('/spool/job00018/slurm_script: line 16: /nowhere/python: No such file or directory', 331),
        ('/x/_aiidasubmit.sh: line 9: apptainer: command not found', 331),
        ("/usr/bin/python3: Error while finding module specification … No module named 'aiida_mlip_autopipe'", 331),
        ('/x/_aiidasubmit.sh: line 4: ./arm: cannot execute binary file: Exec format error', 332),
        ("FATAL:   the image's architecture (arm64) could not run on the host's (amd64)", 332),
        ("FATAL:   container creation failed: mount hook function failure: mount source /x doesn't exist", 333),
        ('OSError: [Errno 122] Disk quota exceeded', 334),
        ('torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity …', 336),
        ('torch.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB.', 336),
        ('RuntimeError: CUDA error: out of memory', 336),
        ('Out of memory: Killed process 41 (python)', 110),
        (
            'slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch. Some of the tasks have been OOM Killed.',
            110,
        ),
        ('slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***', 120),
        ('slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE ***', 140),
        ('slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-01-01T00:00:00 ***', 335),
        ('slurmstepd: error: *** JOB 5 ON node1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***', 335),
        ('an unknown message', 300),
    ],
)
@pytest.mark.parametrize('where', ['scheduler_stderr', 'log'])
def test_the_failure_of_a_job_without_a_result_is_recognised_from_its_output(parse, line, status, where):
    _, process = parse(None, **{where: NOTES + line + '\n'})
    assert process.exit_status == status
    if 330 <= status < 340:
        assert line in process.exit_message


@pytest.mark.parametrize(('state', 'status'), [('CANCELLED by 1000', 335), ('PREEMPTED', 335), ('FAILED', 300)])
def test_a_job_that_was_cancelled_in_the_queue_is_recognised_from_the_accounting(parse, state, status):
    _, process = parse(None, state=state)
    assert process.exit_status == status


def test_a_job_that_was_cancelled_while_it_ran_counts_as_killed(parse):
    result = make_result(outcome='killed', last_step=15, message='killed')
    files = [(contract.TRAJECTORY_FILE, truncate), write_checkpoint(15)]
    _, process = parse(result, files, state='CANCELLED by 1000')
    assert process.exit_status == 401


def truncate(path):
    write_trajectory(path, 3)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(('scheduler_status', 'status'), [(None, 401), (110, 0)])
@pytest.mark.chaos
def test_the_frames_of_a_killed_job_up_to_its_checkpoint_are_kept(parse, scheduler_status, status):
    """The next leg computes the frames after the checkpoint again; a truncated frame is ignored."""
    result = make_result(outcome='killed', last_step=15, message='killed')
    files = [(contract.TRAJECTORY_FILE, truncate), write_checkpoint(15)]
    outputs, process = parse(result, files, scheduler_status=scheduler_status)
    assert process.exit_status == status
    assert list(outputs['trajectory'].get_stepids()) == [10]
    assert 'checkpoint' in outputs


def overwrite(path):
    write_checkpoint(15)[1](path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    'checkpoint',
    [[(contract.CHECKPOINT_FILE, overwrite)], [write_checkpoint(15, n_atoms=3)], []],
    ids=['damaged', 'of other atoms', 'missing'],
)
@pytest.mark.chaos
def test_a_leg_with_an_unreadable_checkpoint_is_discarded(parse, checkpoint):
    result = make_result(outcome='killed', n_frames=1, last_step=15, message='killed')
    outputs, process = parse(result, [FRAMES, *checkpoint])
    assert process.exit_status == 304
    assert set(outputs) == {'result'}


def test_a_killed_leg_without_all_frames_before_its_checkpoint_is_discarded(parse):
    result = make_result(outcome='killed', n_frames=3, last_step=35, message='killed')
    outputs, process = parse(result, [(contract.TRAJECTORY_FILE, truncate), write_checkpoint(35, n_frames=3)])
    assert process.exit_status == 303
    assert set(outputs) == {'result'}


def test_a_job_whose_gpu_runs_out_of_memory_has_a_separate_exit_code(parse):
    result = make_result(outcome='failed', message='OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.')
    _, process = parse(result)
    assert process.exit_status == 336


def test_a_trajectory_of_an_unknown_version_is_refused(parse):
    def write(path):
        with TrajectoryFile(path, 'w') as file:
            file.set_description({'trajectory_version': 99})
            file.write(bulk('Cu', cubic=True))

    _, process = parse(make_result(n_frames=1), [(contract.TRAJECTORY_FILE, write)])
    assert process.exit_status == 303
    assert '99' in process.exit_message


def test_a_full_disk_has_a_separate_exit_code(parse):
    result = make_result(
        outcome='failed', message='OSError: [Errno 28] No space left on device', n_frames=2, last_step=20
    )
    outputs, process = parse(result, [FRAMES])
    assert process.exit_status == 334
    assert 'trajectory' in outputs


def test_the_complete_frames_of_a_trajectory_truncated_by_a_full_disk_are_kept(parse):
    message = 'OSError: [Errno 122] Disk quota exceeded'
    result = make_result(outcome='failed', message=message, n_frames=3, last_step=30)
    outputs, process = parse(result, [(contract.TRAJECTORY_FILE, truncate)])
    assert process.exit_status == 334
    assert list(outputs['trajectory'].get_stepids()) == [10, 20]


def test_crash_frames_are_kept(parse):
    outputs, process = parse(
        make_result(outcome='unstable', n_frames=2, message='too hot'),
        [FRAMES, (contract.CRASH_FILE, lambda path: write_trajectory(path, 1))],
    )
    assert process.exit_status == 410
    assert outputs['crash'].filename == 'crash.traj'


def test_frames_of_an_unstable_run_record_the_time_to_the_crash(parse):
    outputs, _ = parse(make_result(outcome='unstable', n_frames=2, last_step=25, message='too hot'), [FRAMES])
    np.testing.assert_array_equal(outputs['trajectory'].get_array('extra_time_to_crash_fs'), [30.0, 10.0])
    outputs, _ = parse(make_result(n_frames=2, last_step=25), [FRAMES])
    assert 'extra_time_to_crash_fs' not in outputs['trajectory'].get_arraynames()


def test_jobs_with_exit_codes_below_400_are_not_taken_from_the_cache():
    for code in ExplorationCalculation.exit_codes.values():
        if code.status >= 300:
            assert code.invalidates_cache == (code.status < 400), code.message


def test_a_result_with_an_unknown_value_can_be_read(parse):
    result = json.loads(make_result().model_dump_json())
    result['mean_temperature_K'] = None
    _, process = parse(json.dumps(result))
    assert process.exit_status == 0
