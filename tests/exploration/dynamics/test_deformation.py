"""Deformations: the strain is exact, the stress is that of elasticity, and a crystal fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from support.errors import refused

from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.settings.kinds import read_exploration
from aiida_mlip_autopipe.exploration.suitability import check_suitability
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.structures.seed import Seed

CONFIGS = Path(__file__).parents[3] / 'workchains' / 'configs'
A_CU = 3.5898  # equilibrium lattice constant of EMT copper in Å
DEFORM = {'kind': 'deform', 'failure_fraction': None, 'frame_interval': 1}
SHEAR = {'mode': 'shear', 'direction': 'a', 'plane': 'ab'}


@pytest.fixture
def cubic():
    return bulk('Cu', a=A_CU, cubic=True)


def energy_of(atoms, gradient):
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ gradient.T, scale_atoms=True)
    strained.calc = EMT()
    return strained.get_potential_energy()


def elastic_constant(atoms, direction, step=1e-3):
    """Return the second derivative of the energy with respect to the strain along a tensor, per volume, in GPa."""
    energies = [energy_of(atoms, np.eye(3) + sign * step * direction) for sign in (-1, 0, 1)]
    return (energies[0] - 2 * energies[1] + energies[2]) / step**2 / atoms.get_volume() / units.GPa


def stresses(folder):
    """Return the Voigt components of the stress of all frames in GPa, without that of the seed."""
    found = folder.frames().stresses / units.GPa
    return found[1:] - found[0]


@pytest.mark.parametrize(
    ('settings', 'tensor', 'component'),
    [
        ({}, np.diag([1.0, 0, 0]), 0),
        (SHEAR, np.outer([1, 0, 0], [0, 0, 1]), 4),
        ({'mode': 'volumetric'}, np.eye(3), slice(0, 3)),  # d²E/dε² is nine times the bulk modulus
    ],
    ids=['C11', 'C44', 'nine bulk moduli'],
)
def test_the_initial_slope_of_the_stress_is_the_elastic_constant(settings, tensor, component, cubic, job_folder):
    folder = job_folder().write(cubic, DEFORM | settings | {'strain_per_step': 5e-4, 'n_steps': 2})
    assert folder.run().outcome == 'completed'
    slope = np.sum(stresses(folder)[0][component]) / 5e-4
    assert slope == pytest.approx(elastic_constant(cubic, tensor), rel=0.01)


def test_a_strain_with_a_relaxed_cross_section_gives_youngs_modulus(cubic, job_folder):
    settings = {'transverse': 'relaxed', 'stress_GPa': 1e-4, 'strain_per_step': 1e-3, 'n_steps': 2}
    folder = job_folder().write(cubic, DEFORM | settings)
    folder.run()
    along, across = np.diag([1.0, 0, 0]), np.diag([0, 1.0, 0])
    c11 = elastic_constant(cubic, along)
    c12 = (elastic_constant(cubic, along + across) - 2 * c11) / 2
    young, poisson = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12), c12 / (c11 + c12)
    frames = folder.frames()
    # The first step also removes the small stress of the seed.
    assert np.diff(frames.stresses[1:, 0])[0] / units.GPa / 1e-3 == pytest.approx(young, rel=0.02)
    assert np.abs(frames.stresses[1:, 1:]).max() / units.GPa < 2e-4
    edges = np.diag(frames.cells[2] - frames.cells[1]) / A_CU
    assert edges == pytest.approx([1e-3, -poisson * 1e-3, -poisson * 1e-3], rel=0.03)


@pytest.mark.parametrize(
    ('settings', 'direction', 'normal'),
    [
        ({'direction': [1, 1, 0]}, [1, 1, 0], [1, 1, 0]),
        ({'mode': 'shear', 'direction': [1, -1, 0], 'plane': [1, 1, 1]}, [1, -1, 0], [1, 1, 1]),
        (SHEAR | {'direction': 'b', 'plane': 'bc', 'strain_per_step': -0.03}, [0, 1, 0], [1, 0, 0]),
    ],
    ids=['uniaxial', 'shear', 'negative shear'],
)
def test_the_cell_is_that_of_the_seed_times_the_exact_gradient(settings, direction, normal, cubic, job_folder):
    cubic.rattle(0.02, seed=1)
    folder = job_folder().write(cubic, DEFORM | {'strain_per_step': 0.02, 'n_steps': 4} | settings)
    folder.run()
    direction, normal = (np.array(one) / np.linalg.norm(one) for one in (direction, normal))
    strain = settings.get('strain_per_step', 0.02)
    for frame, cell in enumerate(folder.frames().cells):
        gradient = np.eye(3) + frame * strain * np.outer(direction, normal)
        assert cell == pytest.approx(cubic.cell.array @ gradient.T, abs=1e-12)
    assert np.linalg.norm(folder.frames().forces[1:], axis=2).max() <= 0.02


def test_the_stress_at_a_strain_does_not_depend_on_the_interval_of_frames(cubic, job_folder):
    cubic.rattle(0.02, seed=1)
    all_frames = job_folder('all').write(cubic, DEFORM | {'n_steps': 6})
    some = job_folder('some').write(cubic, DEFORM | {'n_steps': 6, 'frame_interval': 3})
    all_frames.run()
    some.run()
    assert list(some.frames().steps) == [0, 3, 6]
    assert np.array_equal(some.frames().stresses, all_frames.frames().stresses[::3])


@pytest.mark.parametrize(
    'settings', [{'n_steps': 60}, {'mode': 'volumetric', 'n_steps': 60}], ids=['uniaxial', 'volume']
)
def test_a_crystal_fails_where_its_stress_has_dropped_and_an_event_reports_it(settings, cubic, job_folder):
    settings = {'kind': 'deform', 'strain_per_step': 0.02, 'failure_fraction': 0.4} | settings
    folder = job_folder().write(cubic, settings | {'frame_interval': 7})
    result = folder.run()
    assert (result.outcome, [event.rule for event in result.events]) == ('completed', ['deform'])
    assert result.last_step < 60
    assert folder.frames().steps[-1] == result.last_step
    whole = job_folder('whole').write(cubic, settings | {'failure_fraction': None, 'frame_interval': 1})
    assert whole.run().last_step == 60
    found = whole.frames().stresses[:, :3]
    resisting = found.mean(axis=1) if 'mode' in settings else found[:, 0]
    dropped = resisting < 0.4 * np.maximum.accumulate(resisting)
    assert np.argmax(dropped & (resisting.argmax() < np.arange(61))) == result.last_step
    assert f'{resisting.max() / units.GPa:.3g} GPa' in result.events[0].message


def test_a_compression_ends_at_the_last_step(cubic, job_folder):
    folder = job_folder().write(cubic, {'kind': 'deform', 'strain_per_step': -0.02, 'n_steps': 4})
    result = folder.run()
    assert (result.last_step, result.events) == (4, ())
    assert folder.frames().stresses[-1, 0] < folder.frames().stresses[1, 0] < 0


def test_relaxations_that_do_not_converge_are_reported(cubic, job_folder):
    cubic.rattle(0.1, seed=1)
    result = job_folder().write(cubic, DEFORM | {'max_relaxation_steps': 1, 'n_steps': 3}).run()
    assert (result.outcome, [event.rule for event in result.events]) == ('completed', ['deform'])
    assert result.force_calls <= 1 + 3 * 2


def test_a_guard_in_the_first_step_keeps_the_frame_of_the_seed(cubic, job_folder):
    settings = DEFORM | {'strain_per_step': -0.1, 'n_steps': 2, 'guards': {'distance_factor': 0.94}}
    result = job_folder().write(cubic, settings).run()
    assert (result.outcome, result.events[-1].rule, result.n_frames) == ('unstable', 'distance', 1)


def slab(vacuum):
    atoms = fcc111('Cu', (2, 2, 3), vacuum=vacuum)
    atoms.pbc = True
    return atoms


def check(settings, atoms):
    return check_suitability(read_exploration({'kind': 'deform'} | settings), Seed(atoms, {}))


@pytest.mark.parametrize(
    ('settings', 'change'),
    [
        ({'direction': 'c'}, 'vacuum'),
        ({'mode': 'volumetric'}, 'vacuum'),
        ({'mode': 'shear', 'plane': 'ab'}, 'vacuum'),
        ({'direction': 'a'}, 'open'),
        ({}, 'fixed'),
        ({'mode': 'shear', 'direction': 'c', 'plane': 'ab'}, 'bulk'),
    ],
)
def test_a_structure_that_cannot_be_deformed_is_refused_before_it_is_explored(settings, change):
    atoms = bulk('Cu', cubic=True) if change in ('bulk', 'fixed') else slab(8.0)
    if change == 'open':
        atoms.pbc = (True, True, False)
    if change == 'fixed':
        atoms.set_constraint(FixAtoms([0]))
    with refused(Code.ENSEMBLE_IMPOSSIBLE):
        check(settings, atoms)


@pytest.mark.parametrize(
    'settings', [{'direction': 'a'}, {'mode': 'shear', 'direction': [1, 0, 0], 'plane': [0, 1, 0]}]
)
def test_a_slab_may_be_deformed_in_its_plane(settings, job_folder):
    assert check(settings, slab(8.0)) == []
    folder = job_folder().write(slab(8.0), DEFORM | settings | {'n_steps': 1})
    assert folder.run().outcome == 'completed'


def test_the_seeds_of_the_example_config_fail(job_folder):
    config = load_config(CONFIGS / 'deform_minimal.yaml')
    (seed,) = generate_seeds(config.generation, random_seed=1, cutoff_A=2.0).seeds
    settings = read_exploration(config.exploration.model_dump(mode='json', exclude={'committee'}))
    result = job_folder().write(seed.atoms, settings.model_dump(mode='json')).run()
    assert (result.outcome, result.events[0].rule) == ('completed', 'deform')
    assert result.n_frames <= config.exploration.n_frames
    assert result.force_calls <= config.exploration.n_force_calls


def test_a_relaxation_between_two_strains_continues_exactly(cubic, job_folder, same_frames, monkeypatch):
    from aiida_mlip_autopipe.jobs.interruptions import Interruptions

    cubic.rattle(0.08, seed=2)
    settings = DEFORM | {'n_steps': 2, 'strain_per_step': 0.03, 'transverse': 'relaxed'}
    whole = job_folder('whole').write(cubic, settings)
    n_calls = whole.run().force_calls
    checks = []

    def stop_at_every_other(interruptions):
        checks.append(None)
        return 'stopped' if len(checks) % 2 == 0 else None

    monkeypatch.setattr(Interruptions, 'check', stop_at_every_other)
    cut = job_folder('cut').write(cubic, settings)
    results = [cut.run()]
    while results[-1].outcome == 'stopped' and len(results) < n_calls:
        results.append(cut.run())
    assert n_calls > 12
    assert results[-1].outcome == 'completed'
    same_frames(cut.frames(), whole.frames())
    assert results[-1].force_calls == n_calls
