"""A selection job makes the same selection as is made without a job, or reports why it cannot."""

import json
import os
import signal

import numpy as np
import pytest
from ase.build import bulk
from ase.db import connect
from support.environments import environment_of
from support.sampling import sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_structures
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, STOP_FILE
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.sampling import STAGE_VERSION, SelectionRequest
from aiida_mlip_autopipe.sampling import job as select
from aiida_mlip_autopipe.sampling.contract import (
    FEATURES_FILE,
    REPORT_FILE,
    SELECTION_FILE,
    TRAJECTORIES_FILE,
    DescribedBy,
    SelectionJob,
)
from aiida_mlip_autopipe.sampling.job import read_selection, select_in_job
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset
from aiida_mlip_autopipe.sampling.trajectories_file import write_features, write_trajectories
from aiida_mlip_autopipe.structures.disagreement import MEASURES
from aiida_mlip_autopipe.structures.trajectory import Trajectory

SMALL = SoapSettings(n_max=3, l_max=2)
WITHIN = {'kind': 'fps', 'descriptor': SMALL.model_dump()}
SECTIONS = {
    'fps': {'descriptor': SMALL, 'test_fraction': 0.25},
    'random': {'held_out_kinds': ['surface'], 'test_fraction': 0.25},
    'stride': {'max_force_eV_per_A': 5.0},
    'direct': {'descriptor': SMALL},
    'environment': {'descriptor': SMALL, 'n_clusters': 30},
    'disagreement': {'descriptor': SMALL},
    'stratified': {'within': WITHIN, 'by': 'kind'},
    'mix': {'parts': [{'fraction': 1, 'sampler': WITHIN}, {'fraction': 1, 'sampler': {'kind': 'stride'}}]},
}


def make_trajectory(random_seed, n_frames=12):
    """Return frames with all data that a selection uses: energies, forces, crashes and disagreement."""
    atoms = bulk('Cu', cubic=True) * (1 + random_seed % 2, 1, 1)
    atoms.numbers[0] = 79
    rng = np.random.default_rng(random_seed)
    shape = (n_frames, len(atoms), 3)
    return Trajectory(
        seed_id=f'seed{random_seed}',
        numbers=atoms.numbers,
        pbc=atoms.pbc,
        steps=10 * np.arange(n_frames),
        positions=atoms.positions + 0.1 * rng.normal(size=shape),
        cells=np.tile(atoms.cell.array, (n_frames, 1, 1)),
        energies=rng.normal(size=n_frames),
        forces=rng.normal(size=shape),
        stresses=np.full((n_frames, 6), np.nan),
        temperatures=rng.uniform(200, 900, size=n_frames),
        extra={'time_to_crash_fs': 40.0 * np.arange(n_frames)[::-1], **{x: rng.random(n_frames) for x in MEASURES}},
    )


@pytest.fixture
def make_request(tmp_path):
    """Return a function that creates a selection request with a reference dataset and descriptors of a job."""
    trajectories = [make_trajectory(number) for number in range(3)]
    reference = tmp_path / 'reference' / 'old.db'
    reference.parent.mkdir()
    with connect(reference) as database:
        database.write(trajectories[0].frame(3), label_source='dft:vasp:pbe')
    structures_of_reference = read_reference_dataset(reference)
    structures = [[one.frame(index) for index in range(len(one))] for one in trajectories]

    def describe(some):
        return describe_structures(some, len(some), [29, 79], SMALL)

    features = [describe(some) for some in structures]
    descriptors = Descriptors(features, (29, 79), {'n_features': 7}, describe(structures_of_reference))

    def make(kind, **fields):
        return SelectionRequest(
            trajectories=trajectories,
            settings=sampling(kind, **{'n_structures': 12, **SECTIONS[kind], **fields}),
            random_seed=5,
            groups={'seed0': 'a', 'seed1': 'b', 'seed2': 'c'},
            kinds={'seed0': 'alloy', 'seed1': 'surface', 'seed2': 'alloy'},
            labels={'seed1': 'hot'},
            described={descriptor_key(SMALL): descriptors},
            reference=structures_of_reference,
        )

    return make


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the job of a request."""

    def run(request, **changes):
        job = SelectionJob(
            environment=environment_of().without_calculator(),
            sampling_version=STAGE_VERSION,
            sampling=request.settings.model_dump(mode='json'),
            random_seed=request.random_seed,
            groups=request.groups,
            kinds=request.kinds,
            labels=request.labels,
            seed_ids=tuple(one.seed_id for one in request.trajectories),
            described={
                key: DescribedBy(species=one.species, report=one.report) for key, one in request.described.items()
            },
            reference='reference/old.db',
        )
        (tmp_path / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json') | changes))
        write_trajectories(tmp_path / TRAJECTORIES_FILE, request.trajectories)
        write_features(tmp_path / FEATURES_FILE, request.described)
        return run_job(tmp_path / JOB_FILE, select_in_job)

    return run


@pytest.mark.parametrize('kind', SECTIONS)
def test_the_selection_of_a_job_is_bitwise_identical_to_one_without_a_job(make_request, run, tmp_path, kind):
    request = make_request(kind)
    result = run(request)
    assert (result.outcome, result.message) == ('completed', '')
    assert result.versions.package
    expected, found = request.select(), read_selection(tmp_path)
    assert len(expected) == result.n_frames >= 9
    for name in ('trajectory_indices', 'frame_indices', 'distances', 'gains'):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.splits == expected.splits
    assert found.report == expected.report
    assert found.report['n_reference'] == 1
    assert found.report['reference_label_sources'] == ['dft:vasp:pbe']


def test_descriptors_of_jobs_are_not_computed_again(make_request, run, monkeypatch):
    request = make_request('fps')
    monkeypatch.setattr('aiida_mlip_autopipe.sampling.pool.describe.describe_structures', None)
    assert run(request).outcome == 'completed'


@pytest.mark.parametrize(
    ('changes', 'code'),
    [
        ({'contract_version': 99}, Code.CONTRACT_VERSION),
        ({'sampling_version': '0'}, Code.CONTRACT_VERSION),
        ({'sampling': {'kind': 'fsp'}}, Code.SETTINGS_REFUSED),
        ({'trajectories': 'other.npz'}, Code.FILE_UNREADABLE),
        ({'features': 'other.npz'}, Code.FILE_UNREADABLE),
        ({'reference': 'other.db'}, Code.FILE_UNREADABLE),
        ({'image_sha256': 'a' * 64}, Code.MODEL_MISMATCH),
    ],
)
def test_an_invalid_job_is_refused(make_request, run, changes, code):
    result = run(make_request('fps'), **changes)
    assert (result.outcome, result.code) == ('refused', code)
    assert result.message


def test_a_selection_job_without_candidates_is_refused(make_request, run, tmp_path):
    result = run(make_request('fps', max_force_eV_per_A=1e-9))
    assert (result.outcome, result.code) == ('refused', Code.SAMPLING)
    assert '36' in result.message
    assert 'force too large (35)' in result.message
    assert not (tmp_path / SELECTION_FILE).exists()


@pytest.mark.parametrize(('how', 'outcome'), [('file', 'stopped'), ('signal', 'stopped'), ('time', 'out_of_walltime')])
def test_an_interrupted_job_writes_no_selection(make_request, run, tmp_path, monkeypatch, how, outcome):
    def select_forever(_):
        if how == 'file':
            (tmp_path / STOP_FILE).touch()
        elif how == 'signal':
            os.kill(os.getpid(), signal.SIGTERM)
        while True:
            sum(range(1000))

    monkeypatch.setattr(select.SelectionRequest, 'select', select_forever)
    before = signal.getsignal(signal.SIGALRM)
    result = run(make_request('fps'), **({'max_wallclock_s': 1.0} if how == 'time' else {}))
    assert (result.outcome, result.code) == (outcome, None)
    assert result.message
    assert not (tmp_path / SELECTION_FILE).exists()
    assert not (tmp_path / REPORT_FILE).exists()
    assert signal.getsignal(signal.SIGALRM) is before
