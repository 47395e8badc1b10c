"""GPAW: labels by density functional theory."""

from __future__ import annotations

import gzip
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from pydantic import ValidationError
from support.errors import refused

from aiida_mlip_autopipe.calculators.attempts import NotConvergedError
from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.gpaw_setups import (
    STRESS_CUTOFF_EV,
    VALENCE_ELECTRONS,
    find_setups,
    hard_elements,
    setups_sha256,
)
from aiida_mlip_autopipe.calculators.isolated_atoms import evaluate_isolated_atoms
from aiida_mlip_autopipe.calculators.kinds.gpaw import PRESETS, GPAWLoader, GPAWSettings, prepare
from aiida_mlip_autopipe.calculators.levels import level_of_calculator
from aiida_mlip_autopipe.core.codes import Code

needs_gpaw = pytest.mark.skipif(find_spec('gpaw') is None, reason='GPAW is not installed')
COARSE = {'plane_wave_cutoff_eV': 250.0, 'kspacing_per_A': 1.2, 'scf_density': 1e-6, 'vacuum_A': 4.0}


@pytest.fixture
def silicon():
    atoms = bulk('Si', a=5.46)
    atoms.rattle(0.05, seed=1)
    return atoms


def evaluate(atoms, with_stress=True, **settings):
    calculator = GPAWLoader(GPAWSettings(**COARSE | settings)).load().calculator
    return Evaluator(atoms.copy(), calculator, with_stress).evaluate(atoms.positions, atoms.cell.array), calculator


@pytest.mark.parametrize('preset', PRESETS)
def test_a_preset_sets_what_is_not_given(preset):
    settings = GPAWSettings(preset=preset, kspacing_per_A=0.77)
    assert settings.model_dump(include=PRESETS[preset].keys()) == PRESETS[preset] | {'kspacing_per_A': 0.77}


def test_the_default_values_are_those_of_the_default_preset():
    fields = GPAWSettings.model_fields
    assert {name: fields[name].default for name in PRESETS['balanced']} == PRESETS[fields['preset'].default]


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValidationError, match='preset'):
        GPAWSettings(preset='precise')


def test_its_labels_are_a_level_of_dft_that_depends_on_the_cutoff_and_not_on_the_preset():
    settings = [GPAWSettings(preset=preset, **COARSE) for preset in ('fast', 'accurate')]
    fast, accurate, other = (
        level_of_calculator(one.model_dump(mode='json'), 'gpaw', version='26.7.0')
        for one in [*settings, GPAWSettings(**COARSE | {'plane_wave_cutoff_eV': 300.0})]
    )
    assert (fast.method, fast.name) == ('dft', 'dft:gpaw:pbe')
    assert fast.hash == accurate.hash
    assert fast.differences(other) == ('plane_wave_cutoff_eV: 250 and 300',)


@pytest.mark.skipif(find_spec('gpaw') is not None, reason='GPAW is installed')
def test_a_missing_package_is_refused():
    with refused(Code.CALCULATOR_MISSING, "'gpaw'", '[gpaw]'):
        GPAWLoader(GPAWSettings()).check()


@pytest.mark.parametrize('pbc', [(True, True, False), True])
@pytest.mark.parametrize('shift_A', [0.0, 5.0, 8.5])
def test_a_slab_has_one_k_point_along_its_vacuum_and_a_dipole_correction(pbc, shift_A):
    slab = fcc111('Al', (1, 1, 3), vacuum=6.0)
    slab.positions[:, 2] += shift_A
    slab.pbc = pbc
    slab.wrap()
    computed, parameters = prepare(slab, GPAWSettings(kspacing_per_A=0.5))
    assert parameters['kpts'] == {'size': [6, 6, 1], 'gamma': True}
    assert parameters['poissonsolver'] == {'dipolelayer': 'xy'}
    assert list(computed.pbc) == [True, True, False]
    height = computed.cell.lengths()[2]
    assert computed.positions[:, 2].min() == pytest.approx(height - computed.positions[:, 2].max(), abs=1e-6)
    assert np.ptp(computed.positions[:, 2]) == pytest.approx(2 * 4.05 / np.sqrt(3))


def test_a_slab_whose_vacuum_is_oblique_has_no_dipole_correction():
    slab = fcc111('Al', (1, 1, 3), vacuum=6.0)
    slab.cell[2, 0] = 1.0
    computed, parameters = prepare(slab, GPAWSettings())
    assert 'poissonsolver' not in parameters
    assert parameters['kpts']['size'][2] == 1
    assert not computed.pbc[2]


def test_a_molecule_gets_vacuum_and_one_k_point():
    computed, parameters = prepare(molecule('CO'), GPAWSettings(vacuum_A=4.0))
    assert computed.cell.lengths() == pytest.approx([8.0, 8.0, 8.0 + molecule('CO').get_distance(0, 1)])
    assert parameters['kpts']['size'] == [1, 1, 1]


def test_magnetic_moments_come_from_the_structure_or_from_the_element():
    atoms = bulk('NiO', 'rocksalt', 4.17)
    settings = GPAWSettings(spin_polarized=True, initial_magnetic_moments={'Ni': 2.0})
    assert prepare(atoms, settings)[0].get_initial_magnetic_moments().tolist() == [2.0, 0.0]
    atoms.set_initial_magnetic_moments([-1.5, 0.1])
    assert prepare(atoms, settings)[0].get_initial_magnetic_moments().tolist() == [-1.5, 0.1]
    assert not prepare(atoms, GPAWSettings())[0].get_initial_magnetic_moments().any()


@pytest.mark.parametrize(('symbols', 'moments'), [('N', [3.0]), ('SiO', [2.0, 2.0]), ('OH2', [2.0, 1.0, 1.0])])
def test_one_to_three_atoms_in_vacuum_are_spin_polarised_from_the_moments_of_the_free_atoms(symbols, moments):
    positions = [[0.0, 0.0, 1.4 * number] for number in range(len(moments))]
    computed, parameters = prepare(Atoms(symbols, positions), GPAWSettings())
    assert parameters['spinpol']
    assert computed.get_initial_magnetic_moments().tolist() == moments


def test_four_atoms_in_vacuum_and_crystals_of_few_atoms_are_not_spin_polarised_by_default():
    four = Atoms('Si4', [[0.0, 0.0, 2.2 * number] for number in range(4)])
    for atoms in (four, bulk('Si')):
        assert not prepare(atoms, GPAWSettings())[1]['spinpol']


@pytest.mark.parametrize('given', [{}, {'spin_polarized': False}])
def test_moments_without_spin_polarisation_are_refused(given):
    with pytest.raises(ValidationError, match='spin_polarized: true'):
        GPAWSettings(initial_magnetic_moments={'Fe': 2.5}, **given)


def test_a_dispersion_without_parameters_is_refused():
    with pytest.raises(ValidationError, match='LDA'):
        GPAWSettings(dispersion=True, functional='LDA')


def level_of(**settings):
    return level_of_calculator(GPAWSettings(**settings).model_dump(mode='json'), 'gpaw', version='26.7.0')


def test_settings_that_are_not_given_have_the_level_of_the_values_that_are_used():
    assert level_of().hash == level_of(spin_polarized=False, charge=0.0).hash
    assert level_of().differences(level_of(spin_polarized=True)) == ('spin_polarized: false and true',)
    assert level_of().differences(level_of(dispersion=True)) == ('dispersion: none and true',)
    assert level_of().differences(level_of(charge=1.0)) == ('charge: 0 and 1',)


def test_hubbard_terms_are_passed_on_without_scaling():
    settings = GPAWSettings(hubbard_U_eV={'Ni': {'d': 6.2}})
    assert prepare(bulk('Ni'), settings)[1]['setups'] == {'Ni': ':d,6.2,0'}


@needs_gpaw
def test_the_results_are_those_of_gpaw(silicon):
    from gpaw import GPAW, PW

    found, _ = evaluate(silicon)
    atoms = silicon.copy()
    kpts = {'size': (2, 2, 2), 'gamma': True}
    occupations = {'name': 'fermi-dirac', 'width': 0.1}
    atoms.calc = GPAW(
        mode=PW(250), xc='PBE', kpts=kpts, occupations=occupations, convergence={'density': 1e-6}, txt=None
    )
    assert found.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-9)
    assert found.forces == pytest.approx(atoms.get_forces(), abs=1e-9)
    assert found.stress == pytest.approx(atoms.get_stress(), abs=1e-11)


@needs_gpaw
def test_the_forces_are_the_derivative_of_the_free_energy(silicon):
    step = 0.01
    forces = evaluate(silicon, with_stress=False)[0].forces
    largest = np.unravel_index(np.argmax(np.abs(forces)), forces.shape)
    energies = []
    for sign in (-1, 1):
        moved = silicon.copy()
        moved.positions[largest] += sign * step
        energies.append(evaluate(moved, with_stress=False)[0].energy)
    assert forces[largest] == pytest.approx((energies[0] - energies[1]) / (2 * step), rel=0.02)
    assert abs(forces[largest]) > 0.1


@needs_gpaw
def test_the_energy_of_a_metal_is_the_free_energy_or_its_extrapolation():
    aluminium = bulk('Al')
    free, calculator = evaluate(aluminium, with_stress=False, smearing_eV=0.3)
    extrapolated, _ = evaluate(aluminium, with_stress=False, smearing_eV=0.3, energy='extrapolated')
    assert free.energy == calculator.results['free_energy'] < extrapolated.energy


@needs_gpaw
def test_an_isolated_atom_has_the_spin_given_by_hunds_rules_and_integer_occupations(monkeypatch):
    import gpaw

    made = []
    monkeypatch.setattr(gpaw, 'GPAW', lambda new=gpaw.GPAW, **parameters: made.append(new(**parameters)) or made[-1])
    calculator = GPAWLoader(GPAWSettings(**COARSE)).load().calculator
    energies, faults = evaluate_isolated_atoms(['N'], calculator)
    assert (list(energies), faults) == (['N'], [])
    assert made[0].get_magnetic_moment() == pytest.approx(3.0, abs=1e-4)
    up, down = (made[0].get_occupation_numbers(spin=spin) for spin in (0, 1))
    assert sorted([*up, *down], reverse=True)[:6] == pytest.approx([1, 1, 1, 1, 1, 0])


@needs_gpaw
def test_iron_is_magnetic_if_the_calculation_is_spin_polarised():
    settings = {'spin_polarized': True, 'initial_magnetic_moments': {'Fe': 2.5}, 'scf_density': 1e-3}
    _, calculator = evaluate(bulk('Fe'), with_stress=False, **settings)
    assert calculator.results['magmoms'][0] > 1.5


@needs_gpaw
def test_a_structure_that_does_not_converge_is_an_error(silicon):
    with pytest.raises(NotConvergedError):
        evaluate(silicon, max_scf_steps=2)


@needs_gpaw
def test_the_elements_are_those_with_setups(job_folder):
    loaded = GPAWLoader(GPAWSettings()).load()
    assert {1, 8, 14, 26, 79} <= loaded.elements
    assert 94 not in loaded.elements  # plutonium
    plutonium = Atoms('Pu2', [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]], cell=[4.0, 4.0, 6.0], pbc=True)
    result = job_folder().write(plutonium, calculator={'kind': 'gpaw'}).run()
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    with refused(Code.ELEMENT_UNSUPPORTED, 'Pu'):
        GPAWLoader(GPAWSettings()).check_elements(['Si', 'Pu'])


@needs_gpaw
@pytest.mark.parametrize('functional', ['LDA', 'PBE'])
def test_the_table_of_valence_electrons_is_that_of_the_setups(functional):
    from gpaw import setup_paths

    found = {}
    for file in sorted(Path(setup_paths[-1]).glob(f'*.{functional}.gz')):
        symbol, *label = file.name.removesuffix(f'.{functional}.gz').split('.')
        if not label:
            text = gzip.decompress(file.read_bytes()).decode()
            found[symbol] = float(re.search(r'<atom symbol="\w+".* valence="([\d.]+)"', text)[1])
    assert found == VALENCE_ELECTRONS


def test_the_level_names_the_rule_for_few_atoms():
    assert level_of().parameters['few_atoms'] == 'spin_polarized'


def test_the_setups_are_those_that_gpaw_finds_first_and_their_content_is_hashed(tmp_path):
    own, other = tmp_path / 'own', tmp_path / 'other'
    names = (own / 'Si.PBE', other / 'Si.PBE.gz', other / 'O.PBE.gz', other / 'O.LDA.gz', other / 'O.soft.PBE.gz')
    for number, path in enumerate(names):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
    found = find_setups([own, other], 'PBEsol')
    assert found == {'Si': own / 'Si.PBE', 'O': other / 'O.PBE.gz'}
    assert find_setups([own, other], 'LDA') == {'O': other / 'O.LDA.gz'}
    before = setups_sha256(found)
    assert setups_sha256(dict(reversed(found.items()))) == before
    (other / 'O.PBE.gz').write_text('changed')
    assert setups_sha256(found) != before


@needs_gpaw
def test_the_version_contains_a_hash_of_the_setups_of_the_functional(monkeypatch, tmp_path):
    import gpaw

    def version(functional='PBE'):
        return GPAWLoader(GPAWSettings(functional=functional)).version()

    first = version()
    assert re.fullmatch(r'26\.7.*\+setups\.[0-9a-f]{16}', first)
    assert version('RPBE') == first != version('LDA')
    (tmp_path / 'Si.PBE').write_text('another setup')
    monkeypatch.setattr(gpaw, 'setup_paths', [tmp_path, *gpaw.setup_paths])
    assert version() != first


def test_the_cutoff_that_stresses_need_depends_on_the_elements():
    assert hard_elements(['O', 'Mg', 'O', 'Cu'], 400.0) == {'Cu': 500, 'O': 700}
    assert hard_elements(['O', 'Mg', 'Cu'], 700.0) == {}
    assert hard_elements(['N', 'F'], 600.0) == {'N': 700}


@pytest.mark.long
@needs_gpaw
def test_the_cutoffs_of_stresses_are_those_from_which_the_energy_of_the_free_atom_is_converged():
    from ase.units import Ha
    from gpaw.setup import create_setup
    from gpaw.utilities.ekin import dekindecut, ekin

    cutoffs_eV = range(300, 800, 100)
    found = {}
    for symbol in VALENCE_ELECTRONS:
        G, density, _ = ekin(create_setup(symbol, 'PBE', lmax=2))
        errors_eV = [2 / 3 * cutoff_eV * dekindecut(G, density, cutoff_eV / Ha) for cutoff_eV in cutoffs_eV]
        found[symbol] = next(one for n, one in enumerate(cutoffs_eV) if max(errors_eV[n:]) <= 1 / 3)
    # The cutoff of O is from calculations of MgO; see `STRESS_CUTOFF_EV`.
    expected = {symbol: cutoff_eV for symbol, cutoff_eV in found.items() if cutoff_eV > 300} | {'O': 700}
    assert expected == STRESS_CUTOFF_EV
    assert found['O'] == 600


@needs_gpaw
def test_a_single_point_runs_in_a_job(job_folder, silicon):
    calculator = {'kind': 'gpaw', **COARSE, 'scf_density': 1e-4}
    folder = job_folder().write(silicon, {'kind': 'single_point'}, calculator=calculator)
    result = folder.run()
    assert (result.outcome, result.precision, result.calculator_name) == ('completed', 'float64', 'gpaw')
    assert result.versions.calculator.startswith('26.7')
    assert np.isfinite(folder.frames().stresses).all()


@needs_gpaw
def test_the_dispersion_is_added_to_the_results(silicon):
    pytest.importorskip('dftd3')
    rough = {'kspacing_per_A': 3.0, 'scf_density': 1e-3}
    without, with_dispersion = (evaluate(silicon, dispersion=one, **rough)[0] for one in (False, True))
    assert with_dispersion.energy - without.energy == pytest.approx(-0.6, abs=0.1)
    assert np.abs(with_dispersion.forces - without.forces).max() > 0.005
    assert np.abs(with_dispersion.stress - without.stress).max() > 0.005
