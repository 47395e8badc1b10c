"""Every way in which a job can end is reported in result.json."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixBondLengths
from ase.io import read, write

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.contract import (
    CHECKPOINT_FILE,
    CRASH_FILE,
    IMAGE_VARIABLE,
    JOB_FILE,
    RESULT_FILE,
    SEED_FILE,
    TRAJECTORY_FILE,
    Result,
)
from aiida_mlip_autopipe.jobs.interruptions import Interruptions


def test_a_completed_run_reports_its_results(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 40, 'ensemble': 'npt'})
    result = folder.run()
    assert result == Result.model_validate_json((folder.path / RESULT_FILE).read_text())
    assert (result.outcome, result.message, result.code) == ('completed', '', None)
    assert (result.first_step, result.last_step, result.n_frames, result.force_calls) == (0, 40, 20, 41)
    assert (result.ensemble, result.ensemble_reason) == ('npt', 'set by the user')
    assert (result.calculator_name, result.device, result.precision) == ('emt', 'cpu', 'float64')
    assert result.timestep_fs == 2.0
    assert result.versions.calculator == result.versions.ase
    assert result.isolated_atom_energies_eV == {'Cu': 3.51}
    frames = folder.frames()
    assert np.array_equal(frames.steps, np.arange(2, 41, 2))
    assert result.mean_temperature_K == pytest.approx(frames.temperatures.mean())
    assert result.statistics['energy_eV']['n'] == 40
    assert 0 < result.statistics['energy_eV']['n_independent'] <= 40
    assert 0 < result.statistics['n_independent_frames'] <= 20


def test_a_slab_that_was_generated_runs_at_constant_volume(job_folder):
    slab = fcc111('Cu', (2, 2, 3), vacuum=4.0)
    slab.pbc = True
    for form, ensemble in ((None, 'npt'), ('slab', 'nvt')):
        folder = job_folder(ensemble).write(slab, {'n_steps': 4, 'pressure_GPa': 10.0}, form=form)
        assert folder.run().ensemble == ensemble
        assert np.allclose(folder.frames().cells, slab.cell.array) == (form == 'slab')


def test_molecules_run_at_constant_volume_and_are_not_swapped(job_folder):
    gas = Atoms(cell=[9.0] * 3, pbc=True)
    for number in range(2):
        one = molecule('N2')
        one.positions += [4.0 * number, 2.0, 2.0]
        one.set_tags(number + 1)
        gas += one
    gas.symbols[3] = 'O'
    result = job_folder('nvt').write(gas, {'n_steps': 4}, molecular=True).run()
    assert (result.outcome, result.ensemble) == ('completed', 'nvt')
    moves = {'monte_carlo': {'moves': [{'kind': 'swap', 'partners': 'any'}], 'n_md_steps': 2}}
    refused = job_folder('swap').write(gas, {'n_steps': 4, **moves}, molecular=True).run()
    assert (refused.outcome, refused.code) == ('refused', Code.MOVE_IMPOSSIBLE)


def test_frames_have_the_energy_and_forces_of_their_structure(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 6})
    folder.run()
    frames = folder.frames()
    atoms = frames.frame(1)
    atoms.calc = EMT()
    assert frames.energies[1] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert frames.forces[1] == pytest.approx(atoms.get_forces(), abs=1e-10)
    assert frames.stresses[1] == pytest.approx(atoms.get_stress(), abs=1e-10)


def test_a_structure_without_periodicity_has_no_stress(job_folder):
    folder = job_folder().write(Atoms('Cu3', [[0, 0, 0], [2.5, 0, 0], [1.2, 2.2, 0]]), {'n_steps': 4})
    result = folder.run()
    assert (result.ensemble, result.outcome) == ('nvt', 'completed')
    assert np.isnan(folder.frames().stresses).all()


def test_frames_of_equilibration_and_unsampled_phases_are_not_stored(job_folder, copper):
    phases = [{'n_steps': 8}, {'n_steps': 8, 'sampled': False}, {'n_steps': 8}]
    folder = job_folder().write(copper, {'phases': phases, 'n_equilibration_steps': 4})
    result = folder.run()
    assert folder.frames().steps.tolist() == [6, 8, 18, 20, 22, 24]
    assert result.statistics['energy_eV']['n'] == 12


def test_stored_frames_differ_by_at_least_the_minimum_change(job_folder, copper):
    settings = {'n_steps': 30, 'frame_interval': 1, 'frame_min_change_A': 0.1, 'temperature_K': 900, 'ensemble': 'nvt'}
    folder = job_folder().write(copper, settings)
    folder.run()
    positions = np.array([copper.positions, *folder.frames().positions])
    moved = np.sqrt((np.diff(positions, axis=0) ** 2).sum(axis=2)).max(axis=1)
    assert 1 < len(moved) < 15
    assert (moved >= 0.1).all()
    assert moved.max() < 0.2


def test_a_velocity_reset_changes_the_temperature_at_once(job_folder, copper):
    """Without one, the change would take the time constant of the thermostat, 100 fs or fifty steps."""
    phases = [{'n_steps': 4, 'temperature_K': 3000}, {'kind': 'velocity_reset', 'n_steps': 4, 'temperature_K': 1}]
    settings = {'temperature_K': 3000, 'phases': phases, 'frame_interval': 1, 'ensemble': 'nvt'}
    folder = job_folder().write(copper * (2, 2, 2), settings)
    folder.run()
    temperatures = folder.frames().temperatures
    assert temperatures[3] > 1500
    assert temperatures[4] < 100


def test_a_left_handed_cell_gives_the_same_run_as_a_right_handed_one(job_folder, copper):
    twin = copper.copy()
    twin.set_cell(copper.cell.array[[1, 0, 2]])
    assert np.linalg.det(twin.cell.array) < 0 < np.linalg.det(copper.cell.array)
    settings = {'n_steps': 10, 'ensemble': 'npt', 'pressure_GPa': 5.0}
    right, left = job_folder('right').write(copper, settings), job_folder('left').write(twin, settings)
    assert right.run().outcome == left.run().outcome == 'completed'
    assert left.frames().positions == pytest.approx(right.frames().positions, abs=1e-9)
    assert left.frames().cells[:, [1, 0, 2]] == pytest.approx(right.frames().cells, abs=1e-9)


@pytest.mark.parametrize('content', ['{', '[]', '{"contract_version": 99}'])
def test_a_job_with_another_contract_version_is_refused(job_folder, copper, content):
    folder = job_folder().write(copper)
    (folder.path / JOB_FILE).write_text(content)
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.CONTRACT_VERSION)


def test_a_job_for_another_version_of_the_runner_is_refused(job_folder, copper):
    result = job_folder().write(copper, runner_version='0').run()
    assert (result.outcome, result.code) == ('refused', Code.CONTRACT_VERSION)
    assert [value for value in ('job.json', ' 0 ', 'runner') if value not in result.message] == []


@pytest.mark.parametrize(
    ('exploration', 'code', 'value'),
    [
        ({'temperature_K': -1}, Code.SETTINGS_REFUSED, 'temperature_K'),
        ({'tempreature_K': 1}, Code.SETTINGS_REFUSED, 'tempreature_K'),
        ({'temperature_K': [300, 400]}, Code.SETTINGS_REFUSED, 'temperature_K'),
        ({'ensemble': 'nve', 'monte_carlo': {'moves': [{'kind': 'swap'}]}}, Code.SETTINGS_REFUSED, 'monte_carlo'),
        ({'monte_carlo': {'moves': [{'kind': 'swap'}]}}, Code.MOVE_IMPOSSIBLE, "'same_sign'"),
        ({'ensemble': 'nvt', 'monte_carlo': {'moves': [{'kind': 'volume'}]}}, Code.MOVE_IMPOSSIBLE, "'volume'"),
    ],
)
def test_invalid_settings_are_refused(job_folder, copper, exploration, code, value):
    result = job_folder().write(copper, exploration).run()
    assert (result.outcome, result.code) == ('refused', code)
    assert value in result.message


def test_an_unknown_calculator_is_refused(job_folder, copper):
    result = job_folder().write(copper, calculator={'kind': 'etm'}).run()
    assert (result.outcome, result.code) == ('refused', Code.KIND_UNKNOWN)
    assert 'etm' in result.message


def test_a_seed_that_cannot_be_read_is_refused(job_folder, copper):
    folder = job_folder().write(copper)
    (folder.path / 'seed.traj').write_text('nonsense')
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.FILE_UNREADABLE)


def test_an_unsupported_constraint_is_refused(job_folder, copper):
    folder = job_folder().write(copper)
    copper.set_constraint(FixBondLengths([(0, 1)]))
    write(folder.path / SEED_FILE, copper)
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.STRUCTURE_INVALID)
    assert 'FixBondLengths' in result.message


def test_an_element_that_the_calculator_does_not_support_is_refused(job_folder):
    result = job_folder().write(bulk('Fe') * (2, 2, 2)).run()
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert "'emt'" in result.message
    assert ' Fe' in result.message


def test_a_calculator_that_is_not_installed_is_refused(job_folder, copper, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.calculators.base.find_spec', lambda name: None)
    result = job_folder().write(copper, calculator={'kind': 'mace', 'model': 'x.model'}).run()
    assert (result.outcome, result.code) == ('refused', Code.CALCULATOR_MISSING)
    assert "'mace-torch'" in result.message
    assert 'aiida-mlip-autopipe[mace]' in result.message


def test_a_missing_model_file_is_refused(job_folder, copper):
    result = job_folder().write(copper, calculator={'kind': 'sevennet', 'model': '/no/such.pth'}).run()
    assert (result.outcome, result.code) == ('refused', Code.MODEL_NOT_LOADED)
    assert '/no/such.pth' in result.message


def test_a_different_model_with_the_same_name_is_refused_before_any_import(job_folder, copper, tmp_path):
    model = tmp_path / 'my.pth'
    model.write_bytes(b'weights')
    calculator = {'kind': 'sevennet', 'model': str(model), 'model_sha256': hashlib.sha256(b'others').hexdigest()}
    before = 'torch' in sys.modules
    result = job_folder().write(copper, calculator=calculator).run()
    assert (result.outcome, result.code) == ('refused', Code.MODEL_MISMATCH)
    assert ('torch' in sys.modules) == before


class BrokenLoader(EMTLoader):
    def load(self):
        raise RuntimeError('unexpected end of file')


class MissingLoader(EMTLoader):
    def load(self):
        raise ImportError("No module named 'libcudart'")


class RaisingEMT(EMT):
    calls = 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls > 5:
            raise FloatingPointError('on purpose')
        super().calculate(*args, **kwargs)


class NaNEMT(RaisingEMT):
    def calculate(self, *args, **kwargs):
        try:
            super().calculate(*args, **kwargs)
        except FloatingPointError:
            self.results = {'energy': math.nan, 'forces': np.zeros((4, 3)), 'stress': np.zeros(6)}


def loader_of(calculator_class):
    class Loader(EMTLoader):
        def load(self):
            return Loaded(calculator_class())

    return Loader


@pytest.fixture
def use_loader(monkeypatch):
    return lambda loader: monkeypatch.setattr(CALCULATORS, 'load', lambda kind: loader)


@pytest.mark.parametrize(
    ('loader', 'code'), [(BrokenLoader, Code.MODEL_NOT_LOADED), (MissingLoader, Code.CALCULATOR_MISSING)]
)
def test_a_calculator_that_does_not_load_is_refused(job_folder, copper, use_loader, loader, code):
    use_loader(loader)
    result = job_folder().write(copper).run()
    assert (result.outcome, result.code) == ('refused', code)


def test_a_model_with_a_larger_cutoff_than_in_the_settings_is_refused(job_folder, copper, use_loader):
    class FarLoader(EMTLoader):
        def load(self):
            return Loaded(EMT(), cutoff_A=9.0)

    use_loader(FarLoader)
    result = job_folder().write(copper).run()
    assert (result.outcome, result.code) == ('refused', Code.SETTINGS_REFUSED)
    assert [value for value in ('calculator.cutoff_A', ' 6.6 Å', ' 9 Å') if value not in result.message] == []


def test_the_result_of_a_run_that_failed_has_the_traceback_and_the_counters(job_folder, copper, use_loader):
    class NetworkEMT(RaisingEMT):
        def calculate(self, *args, **kwargs):
            try:
                super().calculate(*args, **kwargs)
            except FloatingPointError as error:
                raise OSError(*error.args) from error

    use_loader(loader_of(NetworkEMT))
    folder = job_folder().write(copper, {'n_steps': 20})
    result = folder.run()
    assert result.outcome == 'failed'
    assert result.message == 'OSError: on purpose'
    assert 'in calculate' in result.traceback
    assert (result.last_step, result.n_frames) == (4, 2)
    assert len(folder.frames()) == 2


def test_an_energy_that_is_not_finite_ends_the_run_as_unstable(job_folder, copper, use_loader):
    use_loader(loader_of(NaNEMT))
    folder = job_folder().write(copper, {'n_steps': 20})
    result = folder.run()
    assert (result.outcome, result.last_step, result.n_frames) == ('unstable', 5, 2)
    assert result.events[-1].rule == 'not_finite'
    crash = read(folder.path / CRASH_FILE, ':')
    assert [frame.info['failing'] for frame in crash] == [False] * 5 + [True]
    assert [frame.info['step'] for frame in crash] == [0, 1, 2, 3, 4, 5]
    assert math.isnan(crash[-1].calc.results['energy'])
    assert crash[0].get_momenta().any()
    json.loads((folder.path / RESULT_FILE).read_text(), parse_constant=pytest.fail)


class HurlingEMT(RaisingEMT):
    def calculate(self, atoms, *args, **kwargs):
        assert np.isfinite(atoms.positions).all()
        try:
            super().calculate(atoms, *args, **kwargs)
        except FloatingPointError:
            signs = np.array([[1.0], [-1.0], [1.0], [-1.0]])
            self.results = {'energy': 0.0, 'forces': 1e308 * signs * np.ones((4, 3)), 'stress': np.zeros(6)}


@pytest.mark.filterwarnings('ignore:overflow', 'ignore:invalid value')
def test_a_structure_that_is_not_finite_is_never_passed_to_the_calculator(job_folder, copper, use_loader):
    use_loader(loader_of(HurlingEMT))
    guards = {
        'force_eV_per_A': None,
        'energy_jump_eV': None,
        'check_temperature': False,
        'distance_factor': None,
        'detached_factor': None,
    }
    result = job_folder().write(copper, {'n_steps': 20, 'ensemble': 'nvt', 'guards': guards}).run()
    assert result.outcome == 'unstable'
    assert result.events[-1].rule == 'not_finite'


def test_the_example_on_the_page_on_crashes_reads_a_crash_file(job_folder, copper, monkeypatch, capsys):
    page = Path(__file__).parents[2] / 'docs' / 'howto' / 'read_a_crash.md'
    _, _, rest = page.read_text().partition('```python\n')
    folder = job_folder().write(copper, {'n_steps': 20, 'guards': {'force_eV_per_A': 0.2}, 'temperature_K': 900})
    assert folder.run().outcome in ('unstable', 'no_frame')
    monkeypatch.chdir(folder.path)
    exec(rest.partition('```')[0], {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert ['True force' in line for line in lines] == [False] * (len(lines) - 1) + [True]


def test_an_unstable_seed_leaves_no_frames(job_folder):
    atoms = bulk('Cu', cubic=True)
    atoms.positions[1] = atoms.positions[0] + [0.5, 0, 0]
    folder = job_folder().write(atoms)
    result = folder.run()
    assert (result.outcome, result.last_step, result.n_frames) == ('no_frame', 0, 0)
    assert not (folder.path / TRAJECTORY_FILE).exists()
    assert not (folder.path / CHECKPOINT_FILE).exists()
    assert len(read(folder.path / CRASH_FILE, ':')) == 1


@pytest.mark.parametrize('ensemble', [{'ensemble': 'nvt'}, {'ensemble': 'npt', 'cell': 'flexible'}])
def test_an_unstable_run_resumes_from_its_last_good_frame_at_a_lower_temperature(job_folder, copper, ensemble):
    settings = {
        'n_steps': 60,
        'temperature_K': 900,
        **ensemble,
        'guards': {'force_eV_per_A': 1.0},
        'timestep_fs': 4.0,
        'recovery': {'temperature_factor': 0.01, 'timestep_factor': 0.5},
    }
    folder = job_folder().write(copper, settings)
    first = folder.run()
    assert first.outcome == 'unstable'
    assert first.events[-1].rule == 'force'
    assert f' step {first.events[-1].step}' in first.message
    good = folder.frames().steps[-1]
    second = folder.write(copper, settings, recoveries=1).run()
    assert second.outcome == 'completed'
    assert not (folder.path / CRASH_FILE).exists()
    assert second.timestep_fs == 2.0
    assert (second.events[0].rule, second.events[0].step) == ('recovery', good)
    frames = folder.frames()
    assert frames.extra['target_temperature_K'][-1] == 9.0
    assert (np.diff(frames.steps) == 2).all()
    refused = folder.write(copper, settings).run()
    assert (refused.outcome, refused.code) == ('refused', Code.CHECKPOINT_MISMATCH)


def test_the_end_of_the_wall_time_leaves_a_checkpoint(job_folder, copper, monkeypatch):
    # The process started at the beginning of the test run, so the limit is relative to the current time.
    monkeypatch.setattr('aiida_mlip_autopipe.jobs.interruptions.process_start', time.monotonic)
    folder = job_folder().write(copper, {'n_steps': 100_000, 'walltime_margin_s': 0.2}, max_wallclock_s=0.5)
    result = folder.run()
    assert result.outcome == 'out_of_walltime'
    assert 0 < result.last_step < 100_000
    assert 0.1 < result.loop_s < 0.5
    assert (folder.path / CHECKPOINT_FILE).exists()


def test_the_wall_time_is_measured_from_the_start_of_the_process(tmp_path):
    interruptions = Interruptions(tmp_path / 'stop', max_wallclock_s=0.01)
    assert interruptions.check() == 'out_of_walltime'


def test_a_seed_is_relaxed_on_request_unless_it_is_perturbed(job_folder, copper):
    copper.rattle(0.1, seed=1)
    settings = {'n_steps': 2, 'frame_interval': 1, 'temperature_K': 1, 'ensemble': 'nvt', 'timestep_fs': 0.01}
    relaxing = settings | {'relaxation': {'force_eV_per_A': 0.05, 'max_steps': 100}}
    plain, relaxed, perturbed = job_folder('a'), job_folder('b'), job_folder('c')
    plain.write(copper, settings).run()
    result = relaxed.write(copper, relaxing).run()
    perturbed.write(copper, relaxing, perturbed=True).run()
    assert result.events[0].rule == 'relaxation'
    assert result.force_calls > 5
    assert np.abs(plain.frames().forces).max() > 0.5
    assert np.abs(relaxed.frames().forces).max() < 0.1
    assert np.array_equal(perturbed.frames().positions, plain.frames().positions)


def test_a_job_in_another_image_is_refused(job_folder, copper, monkeypatch):
    monkeypatch.setenv(IMAGE_VARIABLE, 'b' * 64)
    result = job_folder().write(copper, image_sha256='a' * 64).run()
    assert (result.outcome, result.code) == ('refused', Code.MODEL_MISMATCH)
    assert [value for value in ('b' * 12, 'a' * 12) if value not in result.message] == []


def test_a_job_with_an_unknown_image_is_refused_if_one_is_expected(job_folder, copper, monkeypatch):
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    result = job_folder().write(copper, image_sha256='a' * 64).run()
    assert (result.outcome, result.code) == ('refused', Code.MODEL_MISMATCH)


def test_the_result_contains_the_image_of_the_job(job_folder, copper, monkeypatch):
    monkeypatch.setenv(IMAGE_VARIABLE, 'a' * 64)
    result = job_folder().write(copper, {'n_steps': 2}, image_sha256='a' * 64).run()
    assert (result.outcome, result.image_sha256) == ('completed', 'a' * 64)


def test_a_killed_run_leaves_a_result_and_continues_exactly(job_folder, copper):
    settings = {'n_steps': 30, 'frame_interval': 2, 'checkpoint_interval': 10}
    uninterrupted = job_folder('uninterrupted').write(copper, settings)
    assert uninterrupted.run().outcome == 'completed'
    folder = job_folder().write(copper, settings)
    code = (
        'import os, sys\nfrom pathlib import Path\n'
        'from aiida_mlip_autopipe.exploration import simulation\n'
        'from aiida_mlip_autopipe.exploration.explore import explore\n'
        'from aiida_mlip_autopipe.jobs.runner import run_job\n'
        'store = simulation.Simulation._store_frame\n'
        'def die(self, *targets):\n'
        '    store(self, *targets)\n'
        '    if self.step == 16: os.kill(os.getpid(), 9)\n'
        'simulation.Simulation._store_frame = die\n'
        'run_job(Path(sys.argv[1]), explore)'
    )
    done = subprocess.run([sys.executable, '-c', code, folder.path / JOB_FILE], check=False)
    assert done.returncode == -9
    result = Result.model_validate_json((folder.path / RESULT_FILE).read_text())
    assert (result.outcome, result.last_step, result.n_frames) == ('killed', 10, 5)
    assert ' 10 of 30' in result.message
    assert folder.run().outcome == 'completed'
    np.testing.assert_array_equal(folder.frames().positions, uninterrupted.frames().positions)
