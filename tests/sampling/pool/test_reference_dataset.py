import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import read, write
from pydantic import TypeAdapter
from support.errors import refused
from support.sampling import sampling, select

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import FromCampaign
from aiida_mlip_autopipe.sampling import sampling_union, select_frames
from aiida_mlip_autopipe.sampling.pool.reference_dataset import (
    check_reference_file,
    read_reference_dataset,
    read_reference_sets,
)

SOAP = {'n_max': 4, 'l_max': 3}


@pytest.fixture
def frames(rattled):
    return rattled(12)


@pytest.fixture(params=['old.traj', 'old.db', 'old.json'])
def old(request, tmp_path, frames):
    """Return a file with the first three frames."""
    path = tmp_path / request.param
    write(path, frames[:3])
    return path


def choose(frames, make_trajectory, settings):
    selection = select([make_trajectory(frames)], settings)
    return selection.frame_indices.tolist(), selection.report


@pytest.mark.parametrize('kind', ['random', 'stride', 'fps'])
def test_structures_of_the_reference_dataset_are_not_chosen(frames, old, make_trajectory, kind):
    settings = sampling(kind, n_structures=12, reference_dataset=old)
    indices, report = choose(frames, make_trajectory, settings)
    assert sorted(indices) == list(range(3, 12))
    assert report['n_reference'] == report['discarded']['reference_dataset'] == 3
    assert report['n_candidates'] == 9


@pytest.mark.parametrize('name', ['old.db', 'old.extxyz'])
def test_the_sources_of_the_labels_of_the_reference_dataset_are_reported(frames, tmp_path, make_trajectory, name):
    structures = [atoms.copy() for atoms in frames[:2]]
    if name.endswith('.db'):
        with connect(tmp_path / name) as database:
            for atoms in structures:
                database.write(atoms, label_source='dft:vasp:pbe')
    else:
        for atoms in structures:
            atoms.info['label_source'] = 'dft:vasp:pbe'
        write(tmp_path / name, structures)
    _, report = choose(frames, make_trajectory, sampling('random', n_structures=2, reference_dataset=tmp_path / name))
    assert report['reference_label_sources'] == ['dft:vasp:pbe']


def test_fps_continues_the_selection_of_the_reference_dataset(frames, tmp_path, make_trajectory):
    complete, _ = choose(frames, make_trajectory, sampling('fps', n_structures=8, descriptor=SOAP))
    write(tmp_path / 'old.traj', [frames[i] for i in complete[:4]])
    settings = sampling('fps', n_structures=4, descriptor=SOAP, reference_dataset=tmp_path / 'old.traj')
    selection = select([make_trajectory(frames)], settings)
    assert selection.frame_indices.tolist() == complete[4:]
    assert selection.distances[0] > 0


def test_a_rotated_copy_of_a_reference_structure_is_not_chosen(frames, tmp_path, make_trajectory):
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.rotate(30, 'z', rotate_cell=True)
    write(tmp_path / 'old.traj', copies[:11])
    settings = sampling('fps', n_structures=12, descriptor=SOAP, reference_dataset=tmp_path / 'old.traj')
    assert choose(frames, make_trajectory, settings)[0] == [11]


def test_the_reference_dataset_may_contain_elements_that_no_frame_has(frames, tmp_path, make_trajectory):
    other = frames[0].copy()
    other.numbers[:] = 28
    write(tmp_path / 'old.traj', other)
    settings = sampling('fps', n_structures=2, descriptor=SOAP, reference_dataset=tmp_path / 'old.traj')
    assert choose(frames, make_trajectory, settings)[1]['descriptor']['species'] == [28, 29, 79]


def test_the_reference_dataset_is_a_file_or_that_of_a_campaign(old):
    adapter = TypeAdapter(sampling_union())

    def validate(reference):
        settings = adapter.validate_python(
            {'kind': 'random', 'reference_dataset': reference}, context={'folder': old.parent}
        )
        assert adapter.validate_python(settings.model_dump(mode='json')) == settings
        return settings.reference_dataset

    assert validate(old.name) == old
    assert validate({'campaign': 1234}) == validate({'campaign': '1234'}) == FromCampaign(campaign='1234')


def test_a_reference_dataset_without_its_structures_is_refused(frames, old, make_trajectory):
    for reference in (old, FromCampaign(campaign='old')):
        with refused(Code.VALUE_MISSING, str(reference)):
            select_frames([make_trajectory(frames)], sampling('random', reference_dataset=reference), random_seed=1)


@pytest.mark.parametrize('read', [read_reference_dataset, check_reference_file])
def test_a_missing_unreadable_or_empty_file_is_refused(tmp_path, read):
    with refused(Code.FILE_MISSING, 'no.db'):
        read(tmp_path / 'no.db')
    (tmp_path / 'bad.xyz').write_text('three\n')
    (tmp_path / 'bad.db').write_text('no database')
    for name in ('bad.xyz', 'bad.db'):
        with refused(Code.FILE_UNREADABLE, name):
            read(tmp_path / name)
    connect(tmp_path / 'empty.db').count()
    with refused(Code.STRUCTURES_MISSING, 'empty.db'):
        read(tmp_path / 'empty.db')


def test_a_selection_is_refused_if_the_reference_dataset_contains_all_candidates(frames, tmp_path, make_trajectory):
    write(tmp_path / 'old.traj', frames)
    with refused(Code.CANDIDATES_MISSING, 'reference dataset (12)'):
        choose(frames, make_trajectory, sampling('random', reference_dataset=tmp_path / 'old.traj'))


def test_groups_that_read_as_numbers_or_booleans_are_text(tmp_path):
    structures = []
    for parent in ('1 2', 'T', '12', 'p'):
        atoms = bulk('Cu')
        atoms.info['parent'] = parent
        structures.append(atoms)
    write(tmp_path / 'a.extxyz', structures)
    assert read_reference_sets(read(tmp_path / 'a.extxyz', ':')).groups == ['1 2', 'T', '12', 'p']
