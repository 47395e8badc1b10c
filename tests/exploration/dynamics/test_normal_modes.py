"""Normal modes: their frequencies, the distribution of the displacements, and what is excluded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.vibrations import Vibrations as AseVibrations
from scipy import stats
from scipy.spatial.transform import Rotation
from support.model_systems import Tethers, assert_mean, crystal_of_springs, make, make_system

from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.dynamics.harmonic import HBAR, PER_THZ, find_vibrations, rotation_axes
from aiida_mlip_autopipe.exploration.dynamics.normal_modes import NormalModes
from aiida_mlip_autopipe.exploration.settings.normal_modes import NormalModesSettings
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE

CONFIGS = Path(__file__).parents[3] / 'workchains' / 'configs'

TEMPERATURE_K = 300.0
KT = units.kB * TEMPERATURE_K
NONE = np.zeros((0, 3))
MASSES = np.array([12.0, 40.0, 100.0])


def sampler(system, evaluate, pbc=True, seed=0, **settings):
    """Return normal modes that are ready to draw."""
    settings = NormalModesSettings(temperature_K=TEMPERATURE_K, **settings)
    evaluation = evaluate(system.positions, system.cell)
    made = NormalModes(
        system, evaluate, evaluation, settings, np.broadcast_to(pbc, 3).copy(), np.random.default_rng(seed)
    )
    made.step()
    while made.n_substeps:
        made.step()
    return made


def draw(modes, n):
    """Return displacements (n, 3 n_atoms) and energies (n,) of drawn structures."""
    displacements, energies = [], []
    for _ in range(n):
        modes.step()
        displacements.append((modes.system.positions - modes.reference).ravel())
        energies.append(modes.evaluation.energy)
    return np.array(displacements), np.array(energies)


def tethered(free=(True, True, True)):
    """Three atoms with tethers, a harmonic potential with a known covariance."""
    anchors, constants = 4.0 * np.eye(3), np.array([1.0, 2.0, 5.0])
    return make_system(anchors, 9 * np.eye(3), MASSES, np.array(free)), Tethers(anchors, constants), constants


def hessian_of(evaluate, positions, cell, step=1e-4):
    """Return the Hessian of a potential by central differences of the forces."""
    columns = []
    for index in range(positions.size):
        change = np.zeros(positions.size)
        change[index] = step
        ends = [evaluate(positions + sign * change.reshape(-1, 3), cell).forces.ravel() for sign in (1, -1)]
        columns.append((ends[1] - ends[0]) / (2 * step))
    return np.array(columns)


def assert_covariance(displacements, expected):
    """Compare a covariance by its Wishart distribution, within five standard errors."""
    found = displacements.T @ displacements / len(displacements)
    variances = np.diag(expected)
    errors = np.sqrt((np.outer(variances, variances) + expected**2) / len(displacements))
    assert np.abs((found - expected) / np.where(errors > 0, errors, 1e-20)).max() < 5.0


@pytest.mark.physics
def test_the_covariance_of_a_crystal_is_kT_times_the_inverse_hessian():
    positions, cell, springs = crystal_of_springs(repeats=2)
    masses = np.tile([12.0, 40.0, 40.0, 100.0], 8)
    system = make_system(positions, cell, masses)
    displacements, _ = draw(sampler(system, springs, max_relaxation_steps=0, displacement_A=1e-3), 3000)
    # Without translations of the centre of mass: kT times the inverse on the other displacements.
    roots = np.repeat(np.sqrt(masses), 3)
    dynamical = hessian_of(springs, positions, cell) / np.outer(roots, roots)
    expected = KT * np.linalg.pinv(dynamical, rcond=1e-6) / np.outer(roots, roots)
    assert_covariance(displacements, expected)
    assert np.abs(masses @ displacements.reshape(-1, 32, 3)).max() < 1e-9


@pytest.mark.physics
def test_the_energy_of_each_mode_is_half_kT_and_the_displacements_are_normal():
    system, tethers, constants = tethered(free=(True, True, False))
    modes = sampler(system, tethers)
    displacements, energies = draw(modes, 4000)
    assert_mean(energies, 6 * KT / 2, resolution=0.1)
    assert_mean((energies - 3 * KT) ** 2, 6 * KT**2 / 2, resolution=0.4)
    scaled = displacements[:, :6] * np.sqrt(np.repeat(constants[:2], 3) / KT)
    assert stats.kstest(scaled.ravel(), 'norm').pvalue > 1e-6
    assert not displacements[:, 6:].any()


@pytest.mark.physics
def test_dynamics_of_a_harmonic_system_has_the_same_covariance():
    system, tethers, constants = tethered(free=(True, True, False))
    drawn, _ = draw(sampler(system, tethers), 4000)
    rng = np.random.default_rng(4)
    moving, *_ = tethered(free=(True, True, False))
    moving.momenta = moving.thermal_momenta(TEMPERATURE_K, rng)
    integrator = make('langevin', moving, tethers, 5.0, rng)
    squares = []
    for _ in range(20_000):
        integrator.step()
        squares.append(((moving.positions - tethers.anchors)[:2] ** 2).sum(axis=1))
    for atom in range(2):
        expected = (drawn[:, 3 * atom : 3 * atom + 3] ** 2).sum(axis=1).mean()
        assert expected == pytest.approx(3 * KT / constants[atom], rel=0.12)
        assert_mean(np.array(squares)[:, atom], 3 * KT / constants[atom], resolution=0.5)


@pytest.mark.physics
def test_quantum_displacements_are_those_of_oscillators_with_zero_point_motion():
    system, tethers, constants = tethered(free=(True, False, False))
    omega = np.sqrt(constants[0] / MASSES[0])
    displacements, energies = draw(sampler(system, tethers, statistics='quantum'), 4000)
    expected = HBAR / (2 * MASSES[0] * omega) / np.tanh(HBAR * omega / (2 * KT))
    assert expected > 1.03 * KT / constants[0]
    assert_mean((displacements[:, :3] ** 2).sum(axis=1), 3 * expected, resolution=0.2)
    assert_mean(energies, 1.5 * constants[0] * expected, resolution=0.2)


def test_the_quantum_of_one_thz_has_the_energy_h_times_one_thz():
    assert pytest.approx(4.135667696e-3, rel=1e-6) == HBAR / PER_THZ  # h times 1 THz, in eV


def relaxed(atoms):
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-5)
    return atoms


@pytest.mark.parametrize('name', ['molecule', 'linear molecule', 'slab with fixed atoms'])
def test_frequencies_are_those_of_another_program(name, tmp_path):
    atoms = {
        'molecule': lambda: molecule('CH3OH'),
        'linear molecule': lambda: molecule('CO'),
        'slab with fixed atoms': lambda: fcc111('Cu', (2, 1, 2), vacuum=6.0),
    }[name]()
    if atoms.pbc.any():
        atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 2))
    atoms = relaxed(atoms)
    free = np.setdiff1d(np.arange(len(atoms)), [i for one in atoms.constraints for i in one.index])
    other = AseVibrations(atoms, indices=free, name=str(tmp_path / 'vibrations'), delta=0.005)
    other.run()
    data = other.get_vibrations()
    expected = data.get_energies() / (HBAR / PER_THZ)
    axes = NONE if atoms.pbc.any() else np.eye(3)
    found = find_vibrations(
        data.get_hessian_2d(), atoms.get_masses()[free], atoms.positions[free], axes, not atoms.pbc.any()
    ).frequencies_THz
    n_rigid = {'molecule': 6, 'linear molecule': 5}.get(name, 0)
    assert len(found) == 3 * len(free) - n_rigid
    largest = np.sort(np.abs(expected))[n_rigid:]
    assert np.sort(np.abs(found)) == pytest.approx(largest, rel=2e-3, abs=0.05)


def test_the_hessian_of_a_run_is_that_of_another_program(job_folder, tmp_path):
    atoms = relaxed(bulk('Cu', a=3.6, cubic=True))
    settings = {'kind': 'normal_modes', 'temperature_K': TEMPERATURE_K, 'max_relaxation_steps': 0, 'n_steps': 1}
    folder = job_folder().write(atoms, settings)
    result = folder.run()
    assert (result.outcome, result.force_calls, result.ensemble) == ('completed', 1 + 24 + 1, 'normal_modes')
    found = np.array(Checkpoint.read(folder.path / CHECKPOINT_FILE).counters['integrator']['matrix'])
    other = AseVibrations(atoms, name=str(tmp_path / 'vibrations'), delta=0.01)
    other.run()
    expected = KT * np.linalg.pinv(other.get_vibrations().get_hessian_2d(), rcond=1e-6)
    assert found @ found.T == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize('deviation_A', [0.0, 1e-15, 1e-3])
def test_a_straight_wire_keeps_all_vibrations(deviation_A):
    rng = np.random.default_rng(1)
    cell = np.diag([10.0, 10.0, 9.6]) @ Rotation.from_rotvec([0.3, -0.7, 0.5]).as_matrix()
    positions = np.arange(4)[:, np.newaxis] * cell[2] / 4 + deviation_A * rng.standard_normal((4, 3))
    axes = rotation_axes(cell, np.array([False, False, True]))
    vibrations = find_vibrations(np.eye(12), np.full(4, 63.0), positions, axes, translates=True)
    assert len(vibrations.squares) == 3 * 4 - 3


def test_a_wire_that_is_not_straight_is_not_rotated_about_its_axis():
    positions = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 2.0]])
    axes = rotation_axes(np.diag([10.0, 10.0, 4.0]), np.array([False, False, True]))
    vibrations = find_vibrations(np.eye(6), np.full(2, 12.0), positions, axes, translates=True)
    assert len(vibrations.squares) == 3 * 2 - 3 - 1


def test_displacements_rotate_with_the_seed():
    turn = Rotation.from_euler('xyz', [20, 50, -70], degrees=True).as_matrix()
    atoms = relaxed(Atoms('CuAgAuCu', positions=[[0, 0, 0], [2.6, 0, 0], [1.3, 2.3, 0], [1.3, 0.8, 2.2]]))
    found = []
    for matrix in (np.eye(3), turn):
        positions = atoms.positions @ matrix.T
        hessian = hessian_of(evaluating(atoms), positions, np.zeros((3, 3)))
        vibrations = find_vibrations(hessian, atoms.get_masses(), positions, np.eye(3), True)
        found.append(vibrations.displacement_matrix(TEMPERATURE_K, 'classical', np.ones(6, dtype=bool)))
    turns = np.kron(np.eye(4), turn)
    assert found[1] == pytest.approx(turns @ found[0] @ turns.T, abs=1e-6)


def evaluating(atoms):
    """Return a function that evaluates the positions of atoms with EMT."""
    from aiida_mlip_autopipe.calculators.evaluation import Evaluator

    return Evaluator(atoms.copy(), EMT(), with_stress=False).evaluate


def test_a_cluster_neither_moves_nor_rotates(job_folder):
    atoms = Atoms('CuAgAuCu', positions=[[0, 0, 0], [2.6, 0, 0], [1.3, 2.3, 0], [1.3, 0.8, 2.2]])
    folder = job_folder().write(atoms, {'kind': 'normal_modes', 'temperature_K': 100, 'force_eV_per_A': 1e-3})
    result = folder.run()
    assert (result.outcome, result.events, result.n_frames) == ('completed', (), 50)
    masses = atoms.get_masses()
    reference = np.array(Checkpoint.read(folder.path / CHECKPOINT_FILE).counters['integrator']['reference'])
    centred = reference - masses @ reference / masses.sum()
    moved = folder.frames().positions - reference
    assert np.abs(moved).max() > 0.02
    assert np.abs(masses @ moved).max() < 1e-9
    assert np.abs(np.cross(centred, masses[:, np.newaxis] * moved).sum(axis=1)).max() < 1e-9


def test_a_run_relaxes_the_seed_first_and_reports_forces_that_remain(job_folder, copper):
    copper.rattle(0.05, seed=3)
    settings = {'kind': 'normal_modes', 'n_steps': 5, 'temperature_K': 1, 'force_eV_per_A': 1e-3}
    folder = job_folder('relaxed').write(copper, settings)
    result, frames = folder.run(), folder.frames()
    assert (result.events, list(frames.steps)) == ((), [1, 2, 3, 4, 5])
    assert list(frames.extra['target_temperature_K']) == [1.0] * 5
    lowest = relaxed(copper.copy()).get_potential_energy()
    assert frames.energies == pytest.approx(lowest, abs=20 * units.kB)
    given = job_folder('given').write(copper, settings | {'max_relaxation_steps': 0}).run()
    assert [event.rule for event in given.events] == ['normal_modes']


@pytest.mark.parametrize('imaginary_modes', ['excluded', 'drawn'])
def test_imaginary_modes_are_reported_and_drawn_if_requested(imaginary_modes, job_folder):
    # A chain of copper atoms under compression buckles: its transverse modes are unstable.
    atoms = Atoms('Cu4', positions=[[i * 2.0, 0, 0] for i in range(4)], cell=[8.0, 0, 0], pbc=(True, False, False))
    settings = {'kind': 'normal_modes', 'imaginary_modes': imaginary_modes, 'max_relaxation_steps': 0, 'n_steps': 5}
    folder = job_folder().write(atoms, settings | {'temperature_K': 10})
    result = folder.run()
    assert (result.outcome, [event.rule for event in result.events]) == ('completed', ['normal_modes'])
    transverse = folder.frames().positions[:, :, 1:]
    assert (np.abs(transverse).max() > 1e-9) == (imaginary_modes == 'drawn')


def test_a_run_that_is_stopped_at_any_evaluation_continues_exactly(job_folder, copper, same_frames, monkeypatch):
    from aiida_mlip_autopipe.jobs.interruptions import Interruptions

    copper.rattle(0.05, seed=3)
    settings = {'kind': 'normal_modes', 'n_steps': 3, 'force_eV_per_A': 0.05}
    whole = job_folder('whole').write(copper, settings)
    n_calls = whole.run().force_calls
    checks = []

    def stop_at_every_other(interruptions):
        checks.append(None)
        return 'stopped' if len(checks) % 2 == 0 else None

    monkeypatch.setattr(Interruptions, 'check', stop_at_every_other)
    cut = job_folder('cut').write(copper, settings)
    results = [cut.run()]
    while results[-1].outcome == 'stopped' and len(results) < n_calls:
        results.append(cut.run())
    assert len(results) == n_calls - 1
    same_frames(cut.frames(), whole.frames())
    assert results[-1].force_calls == n_calls


def test_an_error_of_the_calculator_in_the_hessian_ends_the_run_without_a_frame(job_folder, copper, monkeypatch):
    calculate = EMT.calculate

    def fail(self, atoms, *args):
        if np.abs(atoms.positions[2] - copper.positions[2]).max() > 1e-6:
            raise FloatingPointError
        calculate(self, atoms, *args)

    monkeypatch.setattr(EMT, 'calculate', fail)
    result = job_folder().write(copper, {'kind': 'normal_modes'}).run()
    assert (result.outcome, result.events[-1].rule, result.n_frames) == ('no_frame', 'calculator', 0)


def test_the_seeds_of_the_example_config_are_displaced(job_folder):
    config = load_config(CONFIGS / 'normal_modes_minimal.yaml')
    (seed,) = generate_seeds(config.generation, random_seed=1, cutoff_A=3.0).seeds
    settings = config.exploration_of(0).model_dump(mode='json', include=set(NormalModesSettings.model_fields))
    result = job_folder().write(seed.atoms, settings).run()
    assert (result.outcome, result.events, result.n_frames) == ('completed', (), config.exploration.n_frames)
    estimated = config.exploration.n_force_calls + config.exploration.force_calls_per_atom * len(seed.atoms)
    assert result.force_calls == estimated - config.exploration.max_relaxation_steps
