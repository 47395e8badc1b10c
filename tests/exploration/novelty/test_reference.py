"""Frames are new if their environments are far from those of a reference dataset."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from support.errors import refused
from support.job_folders import JobFolder, make_alloy

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.soap.power_spectrum import PowerSpectrum
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_environments
from aiida_mlip_autopipe.exploration.novelty import reference as module
from aiida_mlip_autopipe.exploration.novelty.reference import (
    ReferenceEnvironments,
    count_environments,
    describe_reference,
    share_limit,
)
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, REFERENCE_FILE, START_FILE

SOAP = {'n_max': 4, 'l_max': 3}
SETTINGS = SoapSettings.model_validate(SOAP)
RUN = {'ensemble': 'nvt', 'temperature_K': 900, 'n_steps': 20}
CU_AU = [29, 79]


def novelty(**changes):
    return RUN | {
        'novelty': {'kind': 'distance', 'reference_dataset': REFERENCE_FILE, 'descriptor': SOAP, **changes},
    }


@pytest.fixture(scope='module')
def every(tmp_path_factory):
    """The structures of the frames of a run without novelty."""
    alloy, folder = make_alloy(), JobFolder(tmp_path_factory.mktemp('every'))
    folder.write(alloy, RUN).run()
    frames = folder.frames()
    structures = [alloy.copy() for _ in range(len(frames))]
    for atoms, positions, cell in zip(structures, frames.positions, frames.cells, strict=True):
        atoms.set_cell(cell)
        atoms.positions = positions
    return structures


def nearest_in_others(structures):
    """Return the distance of each environment from the nearest of its element in the other structures, one by one."""
    described = list(describe_environments(structures, CU_AU, SETTINGS))
    found = []
    for one, atoms in enumerate(structures):
        for i, number in enumerate(atoms.numbers):
            found.append(
                min(
                    np.linalg.norm(described[one][i].astype(float) - described[other][j])
                    for other, others in enumerate(structures)
                    if other != one
                    for j in np.flatnonzero(others.numbers == number)
                )
            )
    return found


def test_frames_of_the_reference_dataset_are_not_new(job_folder, alloy, every):
    known = describe_reference(every, CU_AU, SETTINGS)
    result = job_folder('known').write(alloy, novelty(threshold=1e-5), reference=known).run()
    assert result.statistics['novelty']['n'] == len(every) == 10
    assert result.statistics['novelty']['maximum'] < 1e-5
    assert result.n_frames == 0


def test_frames_that_the_reference_dataset_lacks_are_new(job_folder, alloy, every):
    numbers, first = alloy.numbers, describe_reference(every[:5], CU_AU, SETTINGS)
    folder = job_folder('new').write(alloy, novelty(threshold=1e-5), reference=first)
    folder.run()
    frames = folder.frames()
    np.testing.assert_array_equal(frames.steps, [12, 14, 16, 18, 20])
    (described,) = describe_environments([every[5]], CU_AU, SETTINGS)
    distances = np.linalg.norm(described[:, np.newaxis].astype(float) - first.environments, axis=2)
    expected = np.where(numbers[:, np.newaxis] == first.numbers, distances, np.inf).min(axis=1).max()
    assert frames.extra['environment_distance'][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('quantile', [0.3, 0.9])
def test_the_threshold_is_a_quantile_of_the_distances_from_other_structures(job_folder, alloy, every, quantile):
    known = describe_reference(every, CU_AU, SETTINGS, quantile)
    assert known.threshold == pytest.approx(np.quantile(nearest_in_others(every), quantile), rel=1e-6)
    seed = alloy.copy()
    seed.rattle(0.3, seed=1)
    runs = {'quantile': novelty(threshold_quantile=quantile), 'value': novelty(threshold=known.threshold)}
    steps = []
    for name, settings in runs.items():
        folder = job_folder(name).write(seed, settings, reference=known)
        folder.run()
        steps.append(folder.frames().steps.tolist())
    assert steps[0] == steps[1]
    assert steps[0]


def test_an_element_in_one_structure_does_not_contribute_to_the_quantile():
    copper = [bulk('Cu', a=a, cubic=True) for a in (3.5, 3.6)]
    distances = nearest_in_others(copper)
    assert describe_reference([*copper, bulk('Au')], CU_AU, SETTINGS, 0.5).threshold == pytest.approx(
        np.quantile(distances, 0.5), rel=1e-6
    )
    with refused(Code.VALUE_INVALID):
        describe_reference([bulk('Au'), bulk('Cu')], CU_AU, SETTINGS, 0.5)


def test_a_quantile_that_is_zero_because_of_duplicates_is_refused(every):
    moved = [atoms.copy() for atoms in every[:3]]
    for atoms in moved:
        atoms.rotate(40, (1, 2, 3), rotate_cell=True)
        atoms.positions += 0.1
    for copies in (every[:3], moved):
        with refused(Code.OUT_OF_RANGE, 'threshold_quantile'):
            describe_reference([*every, *copies], CU_AU, SETTINGS, 0.3)
    assert describe_reference([*every, *moved], CU_AU, SETTINGS, 0.9).threshold > 1e-3


def test_environments_of_elements_that_the_reference_dataset_lacks_are_new(job_folder, alloy):
    known = describe_reference([bulk('Cu', cubic=True)], CU_AU, SETTINGS)
    folder = job_folder('gold').write(alloy, novelty(threshold=0.9), reference=known)
    result, frames = folder.run(), folder.frames()
    assert [(event.rule, event.step) for event in result.events] == [('novelty', 0)]
    assert frames.steps.tolist() == [2]
    assert frames.extra['environment_distance'][0] == pytest.approx(2**0.5)
    limited = job_folder('limited').write(alloy, novelty(threshold=0.9, limit=1.2), reference=known).run()
    assert (limited.outcome, limited.last_step, limited.n_frames) == ('completed', 2, 0)


def test_two_legs_give_the_frames_of_one_run_and_need_the_same_reference_dataset(job_folder, alloy, every, same_frames):
    known = describe_reference(every[:3], CU_AU, SETTINGS)
    settings = novelty(threshold=0.001)
    whole, first, second, other = (job_folder(name) for name in ('whole', 'first', 'second', 'other'))
    whole.write(alloy, settings, reference=known).run()
    first.write(alloy, settings | {'n_steps': 11}, reference=known).run()
    second.write(alloy, settings, reference=known)
    other.write(alloy, settings, reference=describe_reference(every[:2], CU_AU, SETTINGS))
    for folder in (second, other):
        shutil.copy(first.path / CHECKPOINT_FILE, folder.path / START_FILE)
    assert second.run().first_step == 11
    legs = [first.frames(), second.frames()]
    assert all(len(leg) for leg in legs)
    names = ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')
    joined = replace(legs[0], **{name: np.concatenate([getattr(leg, name) for leg in legs]) for name in names})
    same_frames(joined, whole.frames())
    assert other.run().code == Code.CHECKPOINT_MISMATCH


def test_a_job_refuses_missing_and_changed_environments_and_a_limit_below_the_quantile(job_folder, alloy, every):
    known = describe_reference(every, CU_AU, SETTINGS, 0.9)
    missing = job_folder('missing').write(alloy, novelty(threshold_quantile=0.9), reference=known)
    (missing.path / REFERENCE_FILE).unlink()
    changed = job_folder('changed').write(alloy, novelty(threshold_quantile=0.9), reference=known)
    (changed.path / REFERENCE_FILE).write_bytes(describe_reference(every[:1], CU_AU, SETTINGS).dump())
    unset = job_folder('unset').write(alloy, novelty(threshold=0.1))
    limited = job_folder('limited').write(
        alloy, novelty(threshold_quantile=0.9, limit=0.9 * known.threshold), reference=known
    )
    uncovered = job_folder('uncovered').write(bulk('Al', cubic=True), novelty(threshold=0.1), reference=known)
    codes = [folder.run().code for folder in (missing, changed, unset, limited, uncovered)]
    assert codes == [
        Code.FILE_UNREADABLE,
        Code.FILE_UNREADABLE,
        Code.VALUES_INCOMPLETE,
        Code.OUT_OF_RANGE,
        Code.VALUE_INVALID,
    ]


def test_a_large_dataset_keeps_evenly_spaced_environments_of_each_element(every, monkeypatch):
    assert share_limit({29: 100, 79: 3, 13: 50}, 43) == {79: 3, 13: 20, 29: 20}
    assert share_limit({29: 5, 79: 3}, 43) == {29: 5, 79: 3}
    complete = describe_reference(every, CU_AU, SETTINGS)
    assert count_environments(complete.numbers) == {'Cu': 20, 'Au': 20}
    monkeypatch.setattr(module, 'MAX_ENVIRONMENTS', 8)
    described, describe = [], PowerSpectrum.environments

    def record(*arguments):
        described.append(describe(*arguments))
        return described[-1]

    monkeypatch.setattr(PowerSpectrum, 'environments', record)
    kept = describe_reference(every, CU_AU, SETTINGS)
    assert sum(map(len, described)) == 8
    assert count_environments(kept.numbers) == {'Cu': 4, 'Au': 4}
    for number in CU_AU:
        expected = complete.environments[complete.numbers == number][[0, 5, 10, 15]]
        np.testing.assert_array_equal(kept.environments[kept.numbers == number], expected)


def test_equal_environments_give_equal_files_that_can_be_read(every, tmp_path):
    for quantile in (None, 0.5):
        known = describe_reference(every, CU_AU, SETTINGS, quantile)
        assert describe_reference(every, CU_AU, SETTINGS, quantile).dump() == known.dump()
        (tmp_path / 'known.npz').write_bytes(known.dump())
        found = ReferenceEnvironments.read(tmp_path / 'known.npz')
        np.testing.assert_array_equal(found.environments, known.environments)
        np.testing.assert_array_equal(found.numbers, known.numbers)
        assert (found.species, found.threshold) == (known.species, known.threshold)
    (tmp_path / 'known.npz').write_bytes(known.dump()[:-50])
    with refused(Code.FILE_UNREADABLE):
        ReferenceEnvironments.read(tmp_path / 'known.npz')
