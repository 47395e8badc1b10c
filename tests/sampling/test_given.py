import hashlib

import pytest
from ase.db import connect
from ase.io import write
from pydantic import TypeAdapter
from support.sampling import sampling

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.sampling import SAMPLERS, select_frames

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
    selection = select_frames([make_trajectory(frames)], settings, random_seed=1)
    return selection.frame_indices.tolist(), selection.report


@pytest.mark.parametrize('kind', ['random', 'stride', 'fps'])
def test_structures_given_are_not_chosen_again(frames, old, make_trajectory, kind):
    settings = sampling(kind, n_structures=12, given=old)
    indices, report = choose(frames, make_trajectory, settings)
    assert sorted(indices) == list(range(3, 12))
    assert report['n_given'] == report['passed_over']['given'] == 3
    assert report['n_candidates'] == 9


@pytest.mark.parametrize('name', ['old.db', 'old.extxyz'])
def test_the_level_of_theory_of_a_dataset_given_is_reported(frames, tmp_path, make_trajectory, name):
    structures = [atoms.copy() for atoms in frames[:2]]
    if name.endswith('.db'):
        with connect(tmp_path / name) as database:
            for atoms in structures:
                database.write(atoms, label_source='dft:vasp:pbe')
    else:
        for atoms in structures:
            atoms.info['label_source'] = 'dft:vasp:pbe'
        write(tmp_path / name, structures)
    _, report = choose(frames, make_trajectory, sampling('random', n_structures=2, given=tmp_path / name))
    assert report['given_label_sources'] == ['dft:vasp:pbe']


def test_a_selection_goes_on_where_the_dataset_given_ended(frames, tmp_path, make_trajectory):
    whole, _ = choose(frames, make_trajectory, sampling('fps', n_structures=8, descriptor=SOAP))
    write(tmp_path / 'old.traj', [frames[i] for i in whole[:4]])
    settings = sampling('fps', n_structures=4, descriptor=SOAP, given=tmp_path / 'old.traj')
    selection = select_frames([make_trajectory(frames)], settings, random_seed=1)
    assert selection.frame_indices.tolist() == whole[4:]
    assert selection.distances[0] > 0


def test_a_rotated_copy_of_a_structure_given_is_not_chosen(frames, tmp_path, make_trajectory):
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.rotate(30, 'z', rotate_cell=True)
    write(tmp_path / 'old.traj', copies[:11])
    settings = sampling('fps', n_structures=12, descriptor=SOAP, given=tmp_path / 'old.traj')
    assert choose(frames, make_trajectory, settings)[0] == [11]


def test_elements_of_the_structures_given_need_not_be_among_the_frames(frames, tmp_path, make_trajectory):
    other = frames[0].copy()
    other.numbers[:] = 28
    write(tmp_path / 'old.traj', other)
    settings = sampling('fps', n_structures=2, descriptor=SOAP, given=tmp_path / 'old.traj')
    assert choose(frames, make_trajectory, settings)[1]['descriptor']['species'] == [28, 29, 79]


def test_the_hash_of_the_file_is_found_when_the_config_is_read(old):
    adapter = TypeAdapter(SAMPLERS.settings_union())
    given = {'kind': 'random', 'given': old.name}
    settings = adapter.validate_python(given, context={'folder': old.parent})
    assert settings.given == old
    assert settings.given_sha256 == hashlib.sha256(old.read_bytes()).hexdigest()
    assert adapter.validate_python(settings.model_dump(mode='json')) == settings


def test_a_file_that_has_changed_since_is_refused(frames, old, make_trajectory):
    settings = sampling('random', given=old, given_sha256='0' * 64)
    with pytest.raises(AutopipeError, match='has changed since the config was read'):
        choose(frames, make_trajectory, settings)


def test_a_file_that_is_missing_or_unreadable_is_one_sentence(frames, tmp_path, make_trajectory):
    with pytest.raises(AutopipeError, match='there is no file'):
        choose(frames, make_trajectory, sampling('random', given=tmp_path / 'no.db'))
    (tmp_path / 'bad.xyz').write_text('three\n')
    with pytest.raises(AutopipeError, match=r'bad\.xyz cannot be read as structures'):
        choose(frames, make_trajectory, sampling('random', given=tmp_path / 'bad.xyz'))


def test_all_candidates_given_already_is_one_sentence(frames, tmp_path, make_trajectory):
    write(tmp_path / 'old.traj', frames)
    with pytest.raises(AutopipeError, match='there is no frame to choose from'):
        choose(frames, make_trajectory, sampling('random', given=tmp_path / 'old.traj'))
