"""Damaged and malicious files of jobs: each reader returns correct values or raises its documented error."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from support.job_folders import JobFolder, make_alloy
from support.properties import (
    archive,
    changed,
    damaged,
    damaged_npz,
    examples,
    given,
    little_memory,
    npy,
    st,
    thoroughly,
    values,
)

from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import open_npz, read_npy
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.descriptors.describe import Descriptors
from aiida_mlip_autopipe.descriptors.job import _read_pca
from aiida_mlip_autopipe.exploration.checkpoint import N_DIGITS, Checkpoint
from aiida_mlip_autopipe.exploration.files.trajectory_file import TrajectoryFile, read_trajectory
from aiida_mlip_autopipe.exploration.full_trajectory import FullTrajectoryReader
from aiida_mlip_autopipe.exploration.novelty.reference import ReferenceEnvironments
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.job_file import read_content
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile, read_labels
from aiida_mlip_autopipe.sampling.contract import REPORT_FILE, SELECTION_FILE
from aiida_mlip_autopipe.sampling.job import _write, read_selection
from aiida_mlip_autopipe.sampling.select import Selection
from aiida_mlip_autopipe.sampling.trajectories_file import (
    read_features,
    read_trajectories,
    write_features,
    write_trajectories,
)
from aiida_mlip_autopipe.structures.structures_file import Structures, structure_arrays

REFUSED = (OSError, ValueError, AutopipeError)


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    """Return the folder of a finished exploration of four atoms."""
    folder = JobFolder(tmp_path_factory.mktemp('job'))
    settings = {'n_steps': 20, 'frame_interval': 4, 'checkpoint_interval': 10}
    assert folder.write(make_alloy(), settings, full_trajectory_interval=5).run().outcome == 'completed'
    return folder.path


def content_of(write, path):
    write(path)
    return path.read_bytes()


def check(profile, strategy, path, read, refused=AutopipeError, share=1.0):
    """Check that a reader returns a value or raises its documented error for all files of a strategy."""

    @examples(profile, share)
    @given(strategy)
    def run(content):
        path.write_bytes(content)
        with little_memory(), contextlib.suppress(refused):
            read(path)

    run()


@thoroughly
def test_a_damaged_trajectory_is_refused_or_its_frames_are_complete(profile, job, tmp_path):
    content = (job / contract.TRAJECTORY_FILE).read_bytes()

    def read(path):
        frames = read_trajectory(path, 'seed')
        assert [len(frames.frame(index)) for index in range(len(frames))] == [4] * len(frames)

    check(profile, damaged(content), tmp_path / 'x.traj', read)


@thoroughly
def test_no_frame_is_added_when_a_damaged_trajectory_is_continued(profile, job, tmp_path):
    content = (job / contract.TRAJECTORY_FILE).read_bytes()

    def read(path):
        assert 0 <= TrajectoryFile(path, Atoms()).keep_until(8) <= 3

    check(profile, damaged(content), tmp_path / 'x.traj', read, share=0.5)


@thoroughly
def test_a_damaged_full_trajectory_is_refused_or_its_frames_are_complete(profile, job, tmp_path):
    content = (job / contract.FULL_TRAJECTORY_FILE).read_bytes()
    header, _, records = content.partition(b'\n')

    def read(path):
        reader = FullTrajectoryReader(path)
        assert all(len(reader[index]) == len(reader.numbers) for index in range(len(reader)))

    check(profile, damaged(content), tmp_path / 'x.frames', read)
    headers = changed(json.loads(header)).map(lambda about: json.dumps(about).encode() + b'\n' + records)
    check(profile, headers, tmp_path / 'x.frames', read)


@thoroughly
def test_a_damaged_checkpoint_is_refused_or_is_consistent(profile, job, tmp_path):
    content = (job / contract.CHECKPOINT_FILE).read_bytes()
    check(profile, damaged(content), tmp_path / 'x.npz', Checkpoint.read)

    def sign(data):
        return data + hashlib.sha256(data).hexdigest().encode()

    def read(path):
        checkpoint = Checkpoint.read(path)
        assert checkpoint.n_frames >= 0
        assert checkpoint.positions.shape == (len(checkpoint.numbers), 3)

    # Someone who alters a checkpoint can compute its checksum.
    data = content[:-N_DIGITS]
    check(profile, damaged_npz(data).map(sign), tmp_path / 'x.npz', read)
    with np.load(io.BytesIO(data)) as file:
        members = {name: npy(file[name]) for name in file.files}
        scalars = json.loads(str(file['scalars']))
    altered = changed(scalars).map(lambda one: sign(archive({**members, 'scalars': npy(np.array(json.dumps(one)))})))
    check(profile, altered, tmp_path / 'x.npz', read)


@thoroughly
def test_a_damaged_result_is_refused_or_can_be_stored(profile, job, tmp_path):
    content = (job / contract.RESULT_FILE).read_bytes()

    def read(path):
        result = contract.read_result(path.read_bytes())
        # AiiDA stores no other values.
        json.dumps(result.model_dump(mode='json'), allow_nan=False)

    check(profile, damaged(content), tmp_path / 'x.json', read, ValueError)
    altered = changed(json.loads(content)).map(lambda one: json.dumps(one).encode())
    check(profile, altered, tmp_path / 'x.json', read, ValueError)


@thoroughly
def test_a_damaged_job_file_is_refused_or_can_be_read(profile, job, tmp_path):
    content = (job / contract.JOB_FILE).read_bytes()
    altered = changed(json.loads(content)).map(lambda one: json.dumps(one).encode())
    check(profile, st.one_of(damaged(content), altered), tmp_path / 'job.json', read_content)


@thoroughly
def test_a_damaged_structures_file_is_refused_or_its_structures_are_complete(profile, tmp_path):
    slab = bulk('Cu', cubic=True)
    slab.set_initial_magnetic_moments(np.ones(4))
    slab.set_tags([1, 2, 3, 4])
    arrays = structure_arrays([make_alloy(), slab, bulk('Al')])
    content = content_of(lambda path: np.savez(path, **arrays), tmp_path / 's.npz')

    def read(path):
        structures = Structures(path)
        assert sum(len(atoms) for atoms in structures) == structures.sizes.sum()

    check(profile, damaged_npz(content), tmp_path / 'x.npz', read, REFUSED)


@thoroughly
def test_damaged_inputs_of_a_selection_are_refused_or_can_be_read(profile, job, tmp_path):
    leg = read_trajectory(job / contract.TRAJECTORY_FILE, 'seed')
    content = content_of(lambda path: write_trajectories(path, [leg, leg]), tmp_path / 't.npz')

    def read(path):
        for one in read_trajectories(path, ['a', 'b']):
            one.frame(len(one) - 1)

    check(profile, damaged_npz(content), tmp_path / 'x.npz', read, REFUSED)
    vectors = Descriptors([np.ones((5, 3)), np.ones((5, 3))], (29,), {}, np.ones((2, 3)))
    features = content_of(lambda path: write_features(path, {'soap': vectors}), tmp_path / 'f.npz')
    check(profile, damaged_npz(features), tmp_path / 'x.npz', lambda path: read_features(path, 'soap', 2), REFUSED)


@thoroughly
def test_a_damaged_selection_is_refused_or_is_consistent(profile, tmp_path):
    ends = np.full(2, np.nan)
    selection = Selection(np.array([0, 1]), np.array([3, 2]), ends, ends, ('train', None), {'n': 2})
    _write(selection, tmp_path)
    content, report = ((tmp_path / name).read_bytes() for name in (SELECTION_FILE, REPORT_FILE))

    def read(path):
        found = read_selection(path.parent)
        assert len(found.splits) == len(found) == len(found.trajectory_indices)

    check(profile, damaged_npz(content), tmp_path / SELECTION_FILE, read, REFUSED)
    (tmp_path / SELECTION_FILE).write_bytes(content)
    altered = changed(json.loads(report)).map(lambda one: json.dumps(one).encode())
    check(profile, st.one_of(damaged(report), altered), tmp_path / REPORT_FILE, read, REFUSED)


@thoroughly
def test_damaged_reference_environments_and_principal_components_are_refused_or_can_be_read(profile, tmp_path):
    reference = ReferenceEnvironments(np.eye(3, dtype=np.float32), np.array([29, 29, 79]), (29, 79), 0.1).dump()
    check(profile, damaged_npz(reference), tmp_path / 'x.npz', ReferenceEnvironments.read)
    arrays = {'mean': np.zeros(3), 'directions': np.eye(3)[:2], 'variances': np.ones(2)}
    components = content_of(lambda path: np.savez(path, **arrays), tmp_path / 'p.npz')
    check(profile, damaged_npz(components), tmp_path / 'x.npz', _read_pca)


@thoroughly
def test_a_damaged_labels_file_is_refused_or_its_labels_can_be_stored(profile, tmp_path):
    attempts = (Attempt('', True, 9, 1.5),)
    label = Label(-1.5, 'total', np.ones((2, 3)), stress_eV_A3=np.zeros(6), attempts=attempts)
    failure = Failure('the SCF cycle did not converge', 'not_converged', attempts)
    file = LabelsFile(tmp_path / 'labels.jsonl')
    file.append('one', label)
    file.append('two', failure)
    content = (tmp_path / 'labels.jsonl').read_bytes()

    def read(path):
        for one in read_labels(path).values():
            json.dumps(one.to_json(), allow_nan=False)

    check(profile, damaged(content), tmp_path / 'x.jsonl', read)
    lines = [json.loads(line) for line in content.splitlines()]
    altered = st.sampled_from(lines).flatmap(changed).map(lambda one: json.dumps(one).encode() + b'\n')
    check(profile, altered, tmp_path / 'x.jsonl', read)


@thoroughly
def test_damaged_descriptors_are_refused_or_can_be_read(profile, tmp_path):
    content = npy(np.ones((4, 3), dtype=np.float32))
    check(profile, damaged(content), tmp_path / 'x.npy', read_npy, ValueError)


@thoroughly
def test_arbitrary_json_is_refused_or_can_be_stored(profile):
    @examples(profile)
    @given(st.one_of(st.binary(max_size=60), values.map(lambda one: json.dumps(one).encode())))
    def run(content):
        with contextlib.suppress(ValueError):
            json.dumps(parse_json(content), allow_nan=False)

    run()


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, 'NaN', '1e999', '-Infinity', '9' * 30, '9' * 5000])
def test_extreme_json_is_refused(text):
    with pytest.raises(ValueError, match=r'.'):
        parse_json(text)


class _Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_pickled_object_in_an_archive_is_not_unpickled(tmp_path):
    path, touched = tmp_path / 'x.npz', tmp_path / 'touched'
    objects = np.array([_Touch(touched)], dtype=object)
    for content in (archive({'positions': npy(objects)}), npy(objects), pickle.dumps(_Touch(touched))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'.'), open_npz(path) as arrays:
            arrays['positions']
        with pytest.raises(ValueError, match=r'.'):
            read_npy(path)
    assert not touched.exists()
    np.load(io.BytesIO(npy(objects)), allow_pickle=True)
    assert touched.exists()


def test_an_archive_that_expands_is_refused(tmp_path):
    path = tmp_path / 'x.npz'
    np.savez_compressed(path, positions=np.zeros(10**7))
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match=r'.'), open_npz(path):
        pass
