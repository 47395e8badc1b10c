"""Labelling jobs: labels, failures, time limits, and jobs that are killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from support.environments import environment_of

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.calculators.kinds.lj import LennardJonesLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, RESULT_FILE, STOP_FILE, Result
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.labelling import LABELLING_VERSION, Failure, Label, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob
from aiida_mlip_autopipe.labelling.job import label_structures
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.structures.structures_file import Structures, structure_arrays

LJ = {'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3}
EMT_SETTINGS = {'kind': 'emt'}


def make_structures():
    """Return a crystal, a slab, an alloy and a molecule-like cluster, all without symmetry."""
    gold = bulk('Cu', cubic=True)
    gold.numbers[0] = 79
    found = [bulk('Cu', cubic=True), fcc111('Al', (1, 1, 2), vacuum=5.0), gold, Atoms('Cu2', [[0, 0, 0], [0, 0, 2.5]])]
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
    return found


class Folder:
    """The folder of a labelling job."""

    def __init__(self, path: Path, structures: list[Atoms]):
        self.path = path
        self.structures = structures
        np.savez(path / STRUCTURES_FILE, **structure_arrays(structures))

    def write(self, calculator, **changes):
        job = LabellingJob(
            environment=environment_of(calculator),
            labelling_version=LABELLING_VERSION,
            calculator=calculator,
            level_hash='level-0',
        )
        (self.path / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json') | changes))

    def run(self, calculator=LJ, **changes):
        self.write(calculator, **changes)
        return run_job(self.path / JOB_FILE, label_structures)

    def outcomes(self):
        found = read_labels(self.path / LABELS_FILE)
        return [found.get(label_key(atoms, 'level-0')) for atoms in self.structures]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path, make_structures())


def as_json(outcomes):
    """Return labels without what differs between two runs."""
    found = [one.to_json() for one in outcomes]
    for one in found:
        one.pop('seconds')
        for attempt in one['attempts']:
            attempt.pop('seconds')
    return found


@pytest.mark.parametrize('settings', [LJ, EMT_SETTINGS], ids=['lj', 'emt'])
def test_every_structure_has_the_results_of_the_calculator(folder, settings):
    result = folder.run(settings)
    assert result == Result.model_validate_json((folder.path / RESULT_FILE).read_text())
    assert (result.outcome, result.n_frames, result.force_calls) == ('completed', 4, 4)
    assert (result.calculator_name, result.statistics) == (settings['kind'], {'n_failed': 0})
    loader = CALCULATORS.load(settings['kind'])
    for atoms, label in zip(folder.structures, folder.outcomes(), strict=True):
        atoms.calc = loader(loader.settings_class.model_validate(settings)).load().calculator
        assert label.energy_eV == atoms.get_potential_energy()
        np.testing.assert_array_equal(label.forces_eV_A, atoms.get_forces(apply_constraint=False))
        if atoms.pbc.all():
            np.testing.assert_array_equal(label.stress_eV_A3, atoms.get_stress(apply_constraint=False))
        else:
            assert label.stress_eV_A3 is None
        assert (label.energy_kind, label.attempts[0].converged) == ('total', True)


def test_a_label_does_not_depend_on_the_other_structures_of_its_job(folder, tmp_path):
    folder.run(EMT_SETTINGS)
    together = folder.outcomes()
    for number, atoms in enumerate(folder.structures):
        path = tmp_path / str(number)
        path.mkdir()
        alone = Folder(path, [atoms])
        alone.run(EMT_SETTINGS)
        assert as_json(alone.outcomes()) == as_json(together[number : number + 1])


def test_the_initial_moments_charges_and_tags_of_structures_reach_the_calculator(tmp_path):
    iron = bulk('Fe', cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    iron.set_tags([3, 0])
    charged = bulk('NaCl', 'rocksalt', 5.6)
    charged.set_initial_charges([1.0, -1.0])
    np.savez(tmp_path / STRUCTURES_FILE, **structure_arrays([iron, bulk('Cu'), charged]))
    read = list(Structures(tmp_path / STRUCTURES_FILE))
    assert read == [iron, bulk('Cu'), charged]
    assert [one.has('initial_magmoms') for one in read] == [True, False, False]


def test_structures_without_a_stress_get_none_and_isolated_atoms_are_computed(folder):
    result = folder.run(EMT_SETTINGS, with_stress=False, isolated_atoms=('Au', 'Cu'))
    assert [one.stress_eV_A3 for one in folder.outcomes()] == [None] * 4
    copper = Atoms('Cu', cell=[30] * 3)
    copper.calc = EMT()
    assert result.isolated_atom_energies_eV['Cu'] == pytest.approx(copper.get_potential_energy(), abs=1e-12)
    assert set(result.isolated_atom_energies_eV) == {'Au', 'Cu'}


def test_a_job_may_consist_of_isolated_atoms(tmp_path):
    result = Folder(tmp_path, []).run(EMT_SETTINGS, isolated_atoms=('Cu',))
    assert (result.outcome, result.n_frames, list(result.isolated_atom_energies_eV)) == ('completed', 0, ['Cu'])


def test_a_job_restarted_in_its_folder_computes_only_what_is_missing(folder):
    folder.run(EMT_SETTINGS)
    complete = as_json(folder.outcomes())
    # The file of a killed process: some labels, and a truncated one.
    path = folder.path / LABELS_FILE
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    result = folder.run(EMT_SETTINGS)
    assert (result.outcome, result.n_frames) == ('completed', 4)
    assert 0 < result.force_calls < 4
    assert as_json(folder.outcomes()) == complete
    assert folder.run(EMT_SETTINGS).force_calls == 0


def test_a_stopped_job_can_be_run_again(folder):
    (folder.path / STOP_FILE).touch()
    result = folder.run()
    assert (result.outcome, result.n_frames) == ('stopped', 0)
    (folder.path / STOP_FILE).unlink()
    assert folder.run().outcome == 'completed'


class Fussy(EMT):
    """Fails at every structure, or from the third structure on."""

    calls = 0
    good = 2

    def calculate(self, *args, **kwargs):
        type(self).calls += 1
        if self.calls > self.good:
            raise ValueError('no neighbour')
        super().calculate(*args, **kwargs)


@pytest.mark.parametrize('good', [2, 0])
def test_only_a_structure_that_cannot_be_labelled_has_a_failure(folder, monkeypatch, good):
    monkeypatch.setattr(Fussy, 'calls', 0)
    monkeypatch.setattr(Fussy, 'good', good)
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(Fussy()))
    result = folder.run(EMT_SETTINGS)
    assert (result.n_frames, result.statistics['n_failed']) == (4, 4 - good)
    assert [type(one) for one in folder.outcomes()] == [Label] * good + [Failure] * (4 - good)
    assert {(one.rule, one.reason) for one in folder.outcomes()[good:]} == {('raised', 'ValueError: no neighbour')}
    expected = ('completed', '') if good else ('no_frame', 'ValueError: no neighbour')
    assert (result.outcome, result.message) == expected


class Slow(EMT):
    """Never ends for aluminium."""

    def calculate(self, atoms, *args, **kwargs):
        while 13 in atoms.numbers:
            pass
        super().calculate(atoms, *args, **kwargs)


def test_a_structure_that_exceeds_its_time_limit_has_a_failure_and_the_job_goes_on(folder, monkeypatch):
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(Slow()))
    result = folder.run(EMT_SETTINGS, time_limit_s=0.6)
    assert (result.outcome, result.statistics) == ('completed', {'n_failed': 1})
    failure = folder.outcomes()[1]
    assert failure.rule == 'time_limit'
    assert 0.6 <= failure.seconds < 30


def test_a_structure_that_takes_longer_than_the_job_is_not_computed_again(folder, monkeypatch):
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(Slow()))
    monkeypatch.setattr('aiida_mlip_autopipe.jobs.interruptions.process_start', time.monotonic)
    first = folder.run(EMT_SETTINGS, max_wallclock_s=2)
    assert (first.outcome, first.n_frames) == ('out_of_walltime', 1)
    second = folder.run(EMT_SETTINGS, max_wallclock_s=2)
    assert (second.outcome, second.n_frames) == ('out_of_walltime', 2)
    assert folder.outcomes()[1].rule == 'time_limit'
    third = folder.run(EMT_SETTINGS, max_wallclock_s=20)
    assert (third.outcome, third.n_frames, third.force_calls) == ('completed', 4, 2)


class Unconverged(EMT):
    """Reports, as some calculators of ASE do, that it did not converge."""

    converged = False


def test_a_calculation_that_reports_that_it_did_not_converge_gives_no_label(folder, monkeypatch):
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(Unconverged()))
    folder.run(EMT_SETTINGS)
    assert {one.rule for one in folder.outcomes()} == {'not_converged'}


class TwoEnergies(EMT):
    """Has an extrapolated energy, as the calculators of DFT codes in ASE, and a free energy below it."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results['free_energy'] = self.results['energy'] - 0.125


@pytest.mark.parametrize(('energy', 'difference'), [('total', 0.0), ('extrapolated', 0.0), ('free_energy', -0.125)])
def test_the_energy_of_a_label_is_the_one_that_the_job_chooses(folder, monkeypatch, energy, difference):
    folder.run(EMT_SETTINGS)
    expected = [one.energy_eV + difference for one in folder.outcomes()]
    (folder.path / LABELS_FILE).unlink()
    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(TwoEnergies()))
    folder.run(EMT_SETTINGS, energy=energy)
    assert [one.energy_eV for one in folder.outcomes()] == expected
    assert {one.energy_kind for one in folder.outcomes()} == {energy}
    known = {one.free_energy_eV is not None for one in folder.outcomes()}
    assert known == {energy != 'total'}


def test_a_free_energy_that_the_calculator_does_not_have_is_a_failure(folder, monkeypatch):
    class NoFreeEnergy(EMT):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            del self.results['free_energy']

    monkeypatch.setattr(EMTLoader, 'load', lambda loader: Loaded(NoFreeEnergy()))
    assert folder.run(EMT_SETTINGS, energy='free_energy').outcome == 'no_frame'
    assert folder.outcomes()[0].rule == 'raised'


@pytest.mark.parametrize(
    ('changes', 'code', 'values'),
    [
        ({'contract_version': 99}, Code.CONTRACT_VERSION, ['job.json', '99']),
        ({'labelling_version': '0'}, Code.CONTRACT_VERSION, ['job.json', ' 0 ', 'labelling']),
        ({'calculator': {'kind': 'ljj'}}, Code.KIND_UNKNOWN, ['calculator', "'ljj'"]),
        ({'image_sha256': 'a' * 64}, Code.MODEL_MISMATCH, ['image', 'a' * 12]),
        ({'structures': 'other.npz'}, Code.FILE_UNREADABLE, ['other.npz']),
        ({'variant': 'mixing'}, Code.SETTINGS_REFUSED, ["'lj'", "'mixing'"]),
        ({'calculator': {'kind': 'sevennet', 'model': '/no/such.pth'}}, Code.MODEL_NOT_LOADED, ['/no/such.pth']),
    ],
)
def test_an_invalid_job_is_refused(folder, changes, code, values):
    result = folder.run(**changes)
    assert (result.outcome, result.code) == ('refused', code)
    assert [value for value in values if value not in result.message] == []


@pytest.mark.parametrize('isolated_atoms', [(), ('W',)])
def test_an_element_that_the_calculator_does_not_support_is_refused(folder, monkeypatch, isolated_atoms):
    elements = frozenset({13, 29, 79} if isolated_atoms else {29, 79})
    monkeypatch.setattr(LennardJonesLoader, 'load', lambda loader: Loaded(EMT(), elements=elements))
    result = folder.run(isolated_atoms=isolated_atoms)
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert (' W' if isolated_atoms else ' Al') in result.message


KILLED = '''
import os, signal
from ase.calculators.emt import EMT

class Killed(EMT):
    """Records each finished structure in a file, and kills its process in the middle of the third one, once."""

    def calculate(self, atoms, *args, **kwargs):
        super().calculate(atoms, *args, **kwargs)
        done = open('finished').read().split() if os.path.exists('finished') else []
        if len(done) == 2 and not os.path.exists('was_killed'):
            open('was_killed', 'w').close()
            os.kill(os.getpid(), signal.SIGKILL)
        with open('finished', 'a') as file:
            file.write(atoms.get_chemical_formula() + '\\n')
'''


def test_a_job_that_is_killed_in_the_middle_computes_nothing_twice(folder, monkeypatch):
    (folder.path / 'killed_once.py').write_text(KILLED)
    monkeypatch.syspath_prepend(folder.path)
    folder.write({'kind': 'custom', 'cutoff_A': 6.0, 'calculator': 'killed_once:Killed'})
    command = [sys.executable, '-m', 'aiida_mlip_autopipe.labelling', JOB_FILE]
    environment = os.environ | {'PYTHONPATH': str(folder.path)}
    outcomes = {}
    for _ in range(2):
        ended = subprocess.run(command, cwd=folder.path, env=environment, capture_output=True, text=True)
        outcomes[ended.returncode] = Result.model_validate_json((folder.path / RESULT_FILE).read_text()).outcome
    # The result of the killed process shows that it had started to compute.
    assert outcomes == {-9: 'killed', 0: 'completed'}
    assert ended.stderr.splitlines()[-1] == 'completed'
    formulas = [atoms.get_chemical_formula() for atoms in folder.structures]
    assert (folder.path / 'finished').read_text().split() == formulas
    assert all(isinstance(one, Label) for one in folder.outcomes())
