"""Single points and relaxations."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from scipy.optimize import minimize_scalar

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE

SINGLE = {'kind': 'single_point'}
RELAX = {'kind': 'relax', 'force_eV_per_A': 1e-4, 'n_steps': 500}
POSITIONS = RELAX | {'degrees': 'positions'}
CELL = RELAX | {'degrees': 'cell', 'stress_GPa': 1e-3}


@pytest.fixture
def rattled(copper):
    copper.positions += np.random.default_rng(5).normal(scale=0.08, size=(4, 3))
    return copper


def fixed(atoms):
    atoms.set_constraint(FixAtoms(mask=[True] * len(atoms)))
    return atoms


@pytest.mark.parametrize(
    'atoms',
    [
        Atoms('Cu'),
        Atoms('CuAu', positions=[[0, 0, 0], [0.6 * (1.32 + 1.36), 0, 0]]),
        fixed(bulk('Cu') * 2),
        bulk('Au', a=3.5),
    ],
    ids=['an isolated atom', 'a short dimer', 'fixed atoms', 'one atom under pressure'],
)
def test_a_single_point_is_the_seed_with_the_results_of_the_calculator(atoms, job_folder):
    folder = job_folder().write(atoms, SINGLE)
    result = folder.run()
    assert (result.outcome, result.n_frames, result.force_calls) == ('completed', 1, 1)
    assert (result.first_step, result.last_step, result.ensemble) == (0, 0, 'single_point')
    (frame,) = (folder.frames().frame(0, atoms),)
    assert np.array_equal(frame.positions, atoms.positions)
    assert np.array_equal(frame.cell, atoms.cell)
    atoms.calc = EMT()
    assert frame.get_potential_energy() == atoms.get_potential_energy()
    assert np.array_equal(frame.get_forces(apply_constraint=False), atoms.get_forces(apply_constraint=False))
    if atoms.pbc.all():
        assert np.array_equal(frame.get_stress(), atoms.get_stress())


def test_a_seed_that_exceeds_a_limit_gives_no_single_point(job_folder):
    dimer = Atoms('Cu2', positions=[[0, 0, 0], [1.2, 0, 0]])
    assert job_folder('allowed').write(dimer, SINGLE).run().outcome == 'completed'
    result = job_folder('refused').write(dimer, SINGLE | {'guards': {'distance_factor': 0.6}}).run()
    assert (result.outcome, result.events[0].rule, result.n_frames) == ('no_frame', 'distance', 0)


def test_relaxed_positions_are_those_of_another_optimiser(rattled, job_folder):
    folder = job_folder().write(rattled, POSITIONS)
    result, frames = folder.run(), folder.frames()
    assert (result.outcome, result.ensemble) == ('completed', 'relax_positions')
    assert result.last_step < 500
    assert frames.steps[0] == 0
    assert frames.steps[-1] == result.last_step
    assert np.linalg.norm(frames.forces[-1], axis=1).max() <= 1e-4
    assert np.array_equal(frames.cells[-1], rattled.cell)
    assert (frames.temperatures == 0).all()
    other = rattled.copy()
    other.calc = EMT()
    BFGS(other, logfile=None).run(fmax=1e-4)
    assert frames.energies[-1] == pytest.approx(other.get_potential_energy(), abs=1e-6)


@pytest.mark.parametrize('pressure_GPa', [0, 20])
def test_a_relaxed_cell_is_the_minimum_of_the_enthalpy(pressure_GPa, job_folder):
    def enthalpy(a):
        atoms = bulk('Cu', a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy() + pressure_GPa * units.GPa * atoms.get_volume()

    a = minimize_scalar(enthalpy, bounds=(3.2, 3.8), method='bounded', options={'xatol': 1e-9}).x
    atoms = bulk('Cu', a=3.7, cubic=True)
    shear = np.eye(3) + 0.04 * np.array([[0, 1, 0], [0.5, 0, 0], [0, 0, -1]])
    atoms.set_cell(atoms.cell @ shear, scale_atoms=True)
    folder = job_folder().write(atoms, CELL | {'pressure_GPa': pressure_GPa})
    assert folder.run().ensemble == 'relax_cell'
    relaxed = folder.frames().frame(-1)
    assert relaxed.cell.cellpar() == pytest.approx([a, a, a, 90, 90, 90], abs=2e-3)
    assert relaxed.get_stress()[:3] / units.GPa == pytest.approx([-pressure_GPa] * 3, abs=2e-3)
    assert relaxed.get_stress()[3:] / units.GPa == pytest.approx([0] * 3, abs=2e-3)


def test_a_relaxation_does_not_rotate_the_cell(job_folder):
    # The antisymmetric part of the total deformation vanishes if the reference is the undeformed cubic cell.
    stretch = np.diag([0.97, 1.02, 1.03])
    atoms = bulk('Cu', a=3.7, cubic=True)
    atoms.set_cell(atoms.cell @ stretch, scale_atoms=True)
    folder = job_folder().write(atoms, CELL)
    folder.run()
    deformation = np.linalg.solve(np.array(atoms.cell), folder.frames().cells[-1])
    assert deformation == pytest.approx(deformation.T, abs=1e-6)


def test_fixed_atoms_do_not_move_and_do_not_delay_convergence(slab, job_folder):
    fixed_atoms = slab.get_tags() == 3
    slab.set_positions(slab.positions + np.random.default_rng(3).normal(0, 0.05, (12, 3)), apply_constraint=False)
    folder = job_folder().write(slab, RELAX)
    result, frames = folder.run(), folder.frames()
    assert result.ensemble == 'relax_positions'
    assert np.array_equal(frames.positions[-1][fixed_atoms], slab.positions[fixed_atoms])
    assert np.linalg.norm(frames.forces[-1][~fixed_atoms], axis=1).max() <= 1e-4
    assert np.linalg.norm(frames.forces[-1][fixed_atoms], axis=1).max() > 1e-3


def test_a_relaxation_along_the_normal_changes_only_heights(slab, job_folder):
    del slab.constraints
    slab.positions += np.random.default_rng(2).normal(scale=0.05, size=slab.positions.shape)
    slab.rotate(35, 'x', rotate_cell=True)
    folder = job_folder().write(slab, RELAX | {'degrees': 'normal'})
    assert folder.run().outcome == 'completed'
    normal = np.cross(slab.cell[0], slab.cell[1])
    normal /= np.linalg.norm(normal)
    moved = folder.frames().positions[-1] - slab.positions
    assert np.abs(moved @ normal).max() > 0.01
    assert np.abs(moved - np.outer(moved @ normal, normal)).max() < 1e-12
    assert np.abs(folder.frames().forces[-1] @ normal).max() <= 1e-4


def test_a_relaxation_without_convergence_is_reported_with_the_force(rattled, job_folder):
    folder = job_folder().write(rattled, POSITIONS | {'n_steps': 3})
    result = folder.run()
    assert (result.outcome, [event.rule for event in result.events]) == ('completed', ['relaxation'])
    assert list(folder.frames().steps) == [0, 2]


def test_a_relaxed_seed_is_one_frame(copper, job_folder):
    folder = job_folder().write(copper, {'kind': 'relax', 'degrees': 'positions'})
    result = folder.run()
    assert (result.outcome, result.n_frames, result.last_step, result.force_calls) == ('completed', 1, 0, 1)


@pytest.mark.parametrize(
    ('seed', 'degrees', 'code'),
    [('slab', 'cell', Code.ENSEMBLE_IMPOSSIBLE), ('fixed', 'positions', Code.NOTHING_MOVES)],
)
def test_an_impossible_relaxation_is_refused(seed, degrees, code, slab, job_folder):
    atoms = slab if seed == 'slab' else fixed(bulk('Cu') * 2)
    result = job_folder().write(atoms, RELAX | {'degrees': degrees}).run()
    assert (result.outcome, result.code) == ('refused', code)


def test_a_pressure_that_is_not_applied_is_reported(slab, job_folder):
    result = job_folder().write(slab, RELAX | {'pressure_GPa': 1}).run()
    assert [event.rule for event in result.events] == ['unused']


def test_the_energy_decreases_from_frame_to_frame(rattled, job_folder):
    folder = job_folder().write(rattled, POSITIONS | {'n_steps': 40})
    folder.run()
    energies = folder.frames().energies
    assert energies[-1] < energies[0] - 0.01
    assert np.argmin(energies) == len(energies) - 1


def test_settings_of_the_dynamics_are_refused(copper, job_folder):
    result = job_folder().write(copper, SINGLE | {'temperature_K': 300}).run()
    assert (result.outcome, result.code) == ('refused', Code.SETTINGS_REFUSED)


def test_the_checkpoint_of_a_relaxation_has_the_state_of_the_optimiser(rattled, job_folder):
    folder = job_folder().write(rattled, POSITIONS | {'n_steps': 10})
    folder.run()
    state = Checkpoint.read(folder.path / CHECKPOINT_FILE).counters['integrator']
    assert np.shape(state['velocities']) == (4, 3)
    assert np.any(state['velocities'])
