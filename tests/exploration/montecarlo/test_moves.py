"""Each Monte Carlo move changes only what it should change."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from support.errors import refused

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader, EMTSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.dynamics.integrators import make_integrator
from aiida_mlip_autopipe.exploration.montecarlo.base import MOVES
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings


def move_of(atoms: Atoms, free: np.ndarray | None = None, **settings):
    variant = MOVES.load(settings['kind'])
    move = variant(variant.settings_class(**settings))
    move.begin(atoms, np.ones(len(atoms), dtype=bool) if free is None else free)
    return move


def system_of(atoms: Atoms, free: np.ndarray | None = None) -> PhaseSpace:
    return PhaseSpace(
        positions=atoms.positions.copy(),
        momenta=np.zeros((len(atoms), 3)),
        cell=atoms.cell.array.copy(),
        masses=atoms.get_masses()[:, np.newaxis],
        free=np.ones(len(atoms), dtype=bool) if free is None else free,
    )


def swapped_pairs(atoms: Atoms, n: int = 300, free: np.ndarray | None = None, **settings) -> set[tuple[str, str]]:
    """Return the elements of all swapped pairs, and check that no other atom moves."""
    move, system, rng = move_of(atoms, free, kind='swap', **settings), system_of(atoms), np.random.default_rng(1)
    pairs = set()
    for _ in range(n):
        trial = move.propose(system, rng)
        moved = np.flatnonzero((trial.positions != system.positions).any(axis=1))
        assert len(moved) == 2
        assert np.array_equal(trial.positions[moved], system.positions[moved[::-1]])
        assert trial.log_factor == 0.0
        pairs.add(tuple(sorted(atoms.symbols[moved])))
    return pairs


@pytest.fixture
def salt() -> Atoms:
    """NaCl with K and Br: two cation elements and two anion elements."""
    atoms = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    atoms.symbols[0] = 'K'
    atoms.symbols[1] = 'Br'
    return atoms


@pytest.fixture
def spinel() -> Atoms:
    """A spinel, with cations of two charges."""
    atoms = Atoms('MgAl2O4', positions=np.arange(21.0).reshape(7, 3) * 2, cell=[50, 50, 50], pbc=True)
    atoms.set_initial_charges([2, 3, 3, -2, -2, -2, -2])
    return atoms


def test_all_pairs_of_different_elements_of_an_alloy_are_swapped():
    atoms = bulk('Cu', cubic=True)
    atoms.symbols = ['Cu', 'Au', 'Ag', 'Pd']
    assert len(swapped_pairs(atoms)) == 6


def test_a_cation_never_moves_to_the_site_of_an_anion(salt):
    assert swapped_pairs(salt) == {('K', 'Na'), ('Br', 'Cl')}
    salt.set_initial_charges([1 if symbol in ('Na', 'K') else -1 for symbol in salt.symbols])
    assert swapped_pairs(salt) == {('K', 'Na'), ('Br', 'Cl')}


def test_a_spinel_becomes_inverse_unless_partners_must_have_the_same_charge(spinel):
    assert swapped_pairs(spinel) == {('Al', 'Mg')}
    with refused(Code.MOVE_IMPOSSIBLE, "'same_charge'"):
        swapped_pairs(spinel, partners='same_charge')


def test_the_charges_of_the_seed_override_the_usual_charges_of_elements():
    sulfate = Atoms('BaSO4', positions=np.arange(18.0).reshape(6, 3) * 2, cell=[50, 50, 50], pbc=True)
    assert swapped_pairs(sulfate) == {('O', 'S')}
    sulfate.set_initial_charges([2, 6, -2, -2, -2, -2])
    assert swapped_pairs(sulfate) == {('Ba', 'S')}


def test_a_job_uses_the_charges_of_its_seed(job_folder):
    """Gold is an anion, as in CsAu. With the charges of the seed, no atoms can be swapped and the job is refused."""
    atoms = bulk('CuAu', 'cesiumchloride', a=3.2) * (2, 1, 1)
    settings = {'ensemble': 'nvt', 'n_steps': 2, 'monte_carlo': {'moves': [{'kind': 'swap'}], 'n_md_steps': 1}}
    assert job_folder('alloy').write(atoms, settings).run().outcome == 'completed'
    atoms.set_initial_charges([1, -1, 1, -1])
    result = job_folder('salt').write(atoms, settings).run()
    assert (result.outcome, result.code) == ('refused', Code.MOVE_IMPOSSIBLE)
    assert "'same_sign'" in result.message


def test_partners_of_the_same_charge_need_charges(salt):
    with refused(Code.MOVE_IMPOSSIBLE, "'same_charge'", 'charges'):
        swapped_pairs(salt, partners='same_charge')


def test_with_partners_any_all_pairs_are_swapped(salt):
    assert len(swapped_pairs(salt, partners='any')) == 6


def test_only_atoms_of_one_sublattice_are_swapped(salt):
    assert swapped_pairs(salt, sublattices={'cations': ['Na', 'K']}) == {('K', 'Na')}
    with refused(Code.VALUE_INVALID, 'sublattices', 'K'):
        swapped_pairs(salt, sublattices={'a': ['Na', 'K'], 'b': ['K', 'Cl']})


def test_fixed_atoms_are_never_swapped(salt):
    free = np.ones(8, dtype=bool)
    free[0] = False  # the only K
    assert swapped_pairs(salt, free=free) == {('Br', 'Cl')}


def test_a_swap_is_as_probable_as_its_reverse(salt):
    move, rng = move_of(salt, kind='swap', partners='any'), np.random.default_rng(3)
    system = system_of(salt)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(4000):
        moved = tuple(np.flatnonzero((move.propose(system, rng).positions != system.positions).any(axis=1)))
        counts[moved] = counts.get(moved, 0) + 1
    # 3 Na, 1 K, 3 Cl, 1 Br.
    rare = counts[(0, 1)] / 4000
    assert rare == pytest.approx(2 / 56, abs=5 * np.sqrt(2 / 56 / 4000))


def test_a_displacement_moves_one_free_atom_within_its_cube(salt):
    free = np.zeros(8, dtype=bool)
    free[[2, 5]] = True
    move = move_of(salt, free, kind='displacement', max_displacement_A=0.2)
    system, rng = system_of(salt), np.random.default_rng(0)
    changes = np.array([move.propose(system, rng).positions - system.positions for _ in range(500)])
    assert set(np.flatnonzero(np.abs(changes).sum(axis=(0, 2)))) == {2, 5}
    assert ((np.abs(changes).sum(axis=2) > 0).sum(axis=1) == 1).all()
    assert 0.19 < np.abs(changes).max() < 0.2


@pytest.mark.parametrize(('scale', 'exponent'), [('linear', 8), ('logarithmic', 9)])
def test_a_volume_move_scales_cell_and_positions_and_returns_its_factor(salt, scale, exponent):
    move = move_of(salt, kind='volume', max_change=0.1, scale=scale)
    system, rng = system_of(salt), np.random.default_rng(0)
    for _ in range(20):
        trial = move.propose(system, rng)
        ratio = abs(np.linalg.det(trial.cell)) / system.volume
        assert 0.9 <= ratio <= 1.1
        assert trial.positions == pytest.approx(system.positions * ratio ** (1 / 3))
        assert trial.log_factor == pytest.approx(exponent * np.log(ratio))


def test_a_volume_move_is_refused_with_fixed_atoms(salt):
    free = np.ones(8, dtype=bool)
    free[0] = False
    with refused(Code.MOVE_IMPOSSIBLE, 'volume'):
        move_of(salt, free, kind='volume')


ENSEMBLES = (('nvt', 'langevin'), ('nvt', 'bussi'), ('npt', 'langevin'))


@pytest.mark.parametrize(
    ('ensemble', 'thermostat', 'move'),
    [
        (*ensemble, move)
        for ensemble in ENSEMBLES
        for move in ('swap', 'displacement', 'volume')
        if move != 'volume' or ensemble[0] == 'npt'
    ],
)
def test_a_step_after_an_accepted_move_starts_from_the_moved_structure(alloy, ensemble, thermostat, move):
    settings = ExplorationSettings(ensemble=ensemble, thermostat=thermostat)
    system, rng = system_of(alloy), np.random.default_rng(4)
    evaluator = Evaluator(alloy.copy(), EMTLoader(EMTSettings()).load().calculator, with_stress=True)
    system.momenta = system.thermal_momenta(300.0, rng)
    evaluation = evaluator.evaluate(system.positions, system.cell)
    integrator = make_integrator(ensemble, settings, 300.0, (system, evaluator.evaluate, evaluation, units.fs, rng))
    integrator.set_targets(1e7, 0.0)  # every move is accepted at this temperature
    monte_carlo = MonteCarlo(
        MonteCarloSettings(moves=[{'kind': move}]), alloy, system.free, ensemble, distance_factor=None
    )
    integrator.step()
    before = system.positions.copy()
    momenta = system.momenta.copy()
    calls = evaluator.calls
    while not monte_carlo.try_move(monte_carlo.moves[0], integrator):
        calls += 1
    assert evaluator.calls == calls + 1
    moved, cell = system.positions.copy(), system.cell.copy()
    assert not np.array_equal(moved, before)
    assert np.array_equal(system.momenta, momenta)

    reference = alloy.copy()
    reference.set_cell(cell)
    reference.positions[:] = moved
    reference.calc = EMT()
    assert integrator.evaluation.energy == pytest.approx(reference.get_potential_energy(), abs=1e-9)
    assert integrator.evaluation.forces == pytest.approx(reference.get_forces(), abs=1e-9)
    assert integrator.evaluation.stress == pytest.approx(reference.get_stress(), abs=1e-9)

    # The next step must equal that of a new integrator for the moved structure.
    twin = system_of(reference)
    twin.momenta, twin.cell_momentum = momenta.copy(), system.cell_momentum
    twin_rng = np.random.default_rng(0)
    twin_rng.bit_generator.state = rng.bit_generator.state
    fresh = Evaluator(alloy.copy(), EMTLoader(EMTSettings()).load().calculator, with_stress=True)
    other = make_integrator(
        ensemble, settings, 300.0, (twin, fresh.evaluate, fresh.evaluate(moved, cell), units.fs, twin_rng)
    )
    other.set_targets(300.0, 0.0)
    integrator.set_targets(300.0, 0.0)
    integrator.step()
    other.step()
    assert np.array_equal(system.positions, twin.positions)
    assert np.array_equal(system.momenta, twin.momenta)
    assert np.array_equal(system.cell, twin.cell)


def test_a_trial_with_overlapping_atoms_is_not_evaluated(alloy):
    system, rng = system_of(alloy), np.random.default_rng(0)
    evaluator = Evaluator(alloy.copy(), EMT(), with_stress=True)
    evaluation = evaluator.evaluate(system.positions, system.cell)
    integrator = make_integrator(
        'nvt', ExplorationSettings(), 300.0, (system, evaluator.evaluate, evaluation, units.fs, rng)
    )
    integrator.set_targets(300.0, 0.0)
    settings = MonteCarloSettings(moves=[{'kind': 'displacement', 'max_displacement_A': 50.0}], n_trials=20)
    monte_carlo = MonteCarlo(settings, alloy, system.free, 'nvt', distance_factor=1.0)
    monte_carlo.run_round(integrator)
    counts = monte_carlo.dump()[0]
    assert counts['tried'] == 20
    assert counts['overlapping'] > 10
    assert evaluator.calls == 1 + 20 - counts['overlapping']


def test_statistics_and_frames_count_accepted_swaps(job_folder, alloy):
    monte_carlo = {
        'moves': [{'kind': 'swap', 'weight': 3}, {'kind': 'displacement'}],
        'n_md_steps': 4,
        'n_trials': 5,
    }
    settings = {'ensemble': 'nvt', 'temperature_K': 3000, 'n_steps': 40, 'monte_carlo': monte_carlo}
    folder = job_folder().write(alloy, settings)
    result = folder.run()
    swap, displacement = result.statistics['moves']
    assert swap['tried'] + displacement['tried'] == 50
    assert swap['tried'] > displacement['tried']
    assert swap['acceptance'] == swap['accepted'] / swap['tried']
    assert swap['accepted'] > 0
    swaps = folder.frames().extra['accepted_swaps']
    assert (np.diff(swaps) >= 0).all()
    assert swaps[-1] == swap['accepted']
    overlapping = swap['overlapping'] + displacement['overlapping']
    assert result.force_calls == 1 + 40 + 50 - overlapping


def methanol(distances: tuple[float, ...]) -> tuple[Atoms, np.ndarray]:
    """Molecules of methanol in a row, and the number of the molecule of each atom."""
    atoms = Atoms(cell=[12.0, 12.0, 12.0], pbc=True)
    for distance in distances:
        one = molecule('CH3OH')
        one.positions += [distance, 5.0, 5.0]
        atoms += one
    return atoms, np.repeat(np.arange(1, 1 + len(distances)), 6)


def molecular_move(kind: str, atoms: Atoms, molecules: np.ndarray):
    variant = MOVES.load(kind)
    move = variant(variant.settings_class(kind=kind, **({'partners': 'any'} if kind == 'swap' else {})))
    move.molecules = molecules
    move.begin(atoms, np.ones(len(atoms), dtype=bool))
    return move


def test_a_swap_between_molecules_is_refused():
    atoms, molecules = methanol((1.0, 6.0))
    with refused(Code.MOVE_IMPOSSIBLE):
        molecular_move('swap', atoms, molecules)
    # Single atoms, such as the ions of a molten salt, may be swapped.
    molecular_move('swap', Atoms('ArKr', [[0, 0, 0], [4, 0, 0]]), np.array([1, 2]))


def test_a_volume_move_scales_the_centres_of_molecules_and_counts_molecules():
    atoms, molecules = methanol((1.0, 5.0, 9.0))
    move, system = molecular_move('volume', atoms, molecules), system_of(atoms)
    trial = move.propose(system, np.random.default_rng(0))
    ratio = np.linalg.det(trial.cell) / system.volume
    assert ratio != 1
    assert trial.log_factor == pytest.approx((3 + 1) * np.log(ratio))
    before, after = (positions.reshape(3, 6, 3) for positions in (atoms.positions, trial.positions))
    np.testing.assert_allclose(after.mean(axis=1), before.mean(axis=1) * ratio ** (1 / 3), atol=1e-12)
    np.testing.assert_allclose(
        after - after.mean(axis=1, keepdims=True), before - before.mean(axis=1, keepdims=True), atol=1e-12
    )
