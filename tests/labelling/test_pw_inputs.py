"""The input of pw.x."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.units import Rydberg

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.labelling.labellers.espresso import PwSettings
from aiida_mlip_autopipe.labelling.plugins.pw_inputs import (
    add_hubbard,
    pw_inputs,
    pw_inputs_of_atom,
    refuse_hubbard,
    uses_hubbard_card,
)

VALENCES = {'Si': 4, 'Fe': 8, 'O': 6, 'H': 1, 'Al': 3, 'Ni': 10, 'Gd': 18}


def settings(**fields):
    return PwSettings(**{'plane_wave_cutoff_eV': 400.0, **fields})


def make(atoms, variation='', **fields):
    return pw_inputs(atoms, settings(**fields), VALENCES, variation)


def test_energies_are_given_in_rydberg():
    system = make(bulk('Si'), smearing_eV=0.2).parameters['SYSTEM']
    assert system['ecutwfc'] == pytest.approx(400 / Rydberg)
    assert system['ecutrho'] == pytest.approx(8 * 400 / Rydberg)
    assert system['degauss'] == pytest.approx(0.2 / Rydberg)


def test_the_threshold_of_the_scf_cycle_is_proportional_to_the_number_of_atoms():
    small, large = (make(atoms).parameters['ELECTRONS']['conv_thr'] for atoms in (bulk('Si'), bulk('Si', cubic=True)))
    assert large == pytest.approx(4 * small)


def test_a_crystal_has_a_stress_and_a_slab_with_a_dipole_correction_has_none():
    crystal, slab = make(bulk('Al')), make(fcc111('Al', (1, 1, 3), vacuum=6.0, periodic=True))
    assert crystal.parameters['CONTROL']['tstress']
    assert 'dipfield' not in crystal.parameters['CONTROL']
    assert not slab.parameters['CONTROL']['tstress']
    assert slab.parameters['CONTROL']['tefield']
    assert slab.parameters['CONTROL']['dipfield']
    assert slab.parameters['SYSTEM']['edir'] == 3


def test_a_slab_has_one_k_point_along_its_vacuum_and_lies_away_from_the_dipole_layer():
    atoms = fcc111('Al', (1, 1, 3), vacuum=6.0, periodic=True)
    atoms.positions[:, 2] -= 6.0  # the slab is at the boundary of the cell
    slab = make(atoms)
    assert slab.mesh[2] == 1 < slab.mesh[0]
    start, width = (slab.parameters['SYSTEM'][name] for name in ('emaxpos', 'eopreg'))
    heights = slab.atoms.get_scaled_positions()[:, 2]
    assert ((heights > start + width - 1) & (heights < start)).all()
    assert slab.atoms.get_distance(0, 2, mic=True) == pytest.approx(atoms.get_distance(0, 2, mic=True))


def test_non_periodic_directions_get_a_vacuum():
    made = make(molecule('H2O'), vacuum_A=4.0)
    assert made.atoms.pbc.all()
    assert made.mesh == [1, 1, 1]
    assert not made.parameters['CONTROL']['tstress']
    np.testing.assert_allclose(made.atoms.positions.min(axis=0), 4.0)


def test_atoms_with_different_moments_are_different_species():
    atoms = bulk('Fe', cubic=True)
    atoms.set_initial_magnetic_moments([2.0, -2.0])
    made = make(atoms, spin_polarized=True)
    assert made.parameters['SYSTEM']['starting_magnetization'] == {'Fe1': -0.25, 'Fe2': 0.25}
    assert made.atoms.get_tags().tolist() == [2, 1]


def test_atoms_without_moments_start_with_those_of_the_settings():
    atoms = bulk('Fe')
    atoms.set_initial_magnetic_moments(None)
    made = make(atoms, spin_polarized=True, initial_magnetic_moments={'Fe': 4.0})
    assert made.parameters['SYSTEM']['starting_magnetization'] == {'Fe': 0.5}
    assert 'nspin' not in make(atoms).parameters['SYSTEM']


def test_a_moment_is_at_most_the_number_of_valence_electrons():
    made = make(Atoms('H', cell=[9, 9, 9], pbc=True), initial_magnetic_moments={'H': 3.0}, spin_polarized=True)
    assert made.parameters['SYSTEM']['starting_magnetization'] == {'H': 1.0}


def test_too_many_different_moments_are_refused():
    atoms = bulk('Fe') * (10, 1, 1)
    atoms.set_initial_magnetic_moments(np.arange(10.0))
    with pytest.raises(AutopipeError) as refused:
        make(atoms, spin_polarized=True)
    assert refused.value.code == Code.SETTINGS_REFUSED


def test_dimers_are_spin_polarised_like_isolated_atoms():
    assert make(molecule('O2')).parameters['SYSTEM']['nspin'] == 2
    assert make(molecule('O2')).parameters['SYSTEM']['starting_magnetization'] != {'O': 0.0}


@pytest.mark.parametrize(('symbol', 'moment', 'n_bands'), [('H', 1.0, 5), ('Si', 2.0, 7), ('O', 2.0, 8)])
def test_isolated_atoms_have_integer_occupations_and_the_moment_given_by_hunds_rules(symbol, moment, n_bands):
    made = pw_inputs_of_atom(symbol, settings(charge=1.0), VALENCES)
    system = made.parameters['SYSTEM']
    assert (system['occupations'], system['nspin'], system['tot_magnetization']) == ('fixed', 2, moment)
    assert system['nbnd'] == n_bands
    assert not {'degauss', 'smearing', 'tot_charge'} & set(system)
    assert len(set(made.atoms.cell.lengths())) == 3


def test_repetitions_change_the_mixing_or_the_k_points():
    first, mixing, k_points = (make(bulk('Si'), variation) for variation in ('', 'mixing', 'k_points'))
    assert mixing.parameters['ELECTRONS']['mixing_beta'] == first.parameters['ELECTRONS']['mixing_beta'] / 2
    assert mixing.mesh == first.mesh
    assert k_points.mesh[0] > first.mesh[0]
    assert k_points.parameters == first.parameters


def test_constraints_and_tags_of_the_structure_have_no_effect():
    atoms = bulk('Si')
    atoms.set_tags([3, 4])
    assert make(atoms).atoms.get_tags().tolist() == [0, 0]


def test_dispersion_is_d3_with_becke_johnson_damping_without_three_body_terms():
    system = make(bulk('Si'), dispersion=True).parameters['SYSTEM']
    assert (system['vdw_corr'], system['dftd3_version'], system['dftd3_threebody']) == ('dft-d3', 4, False)


@pytest.mark.parametrize(('version', 'card'), [('6.7MaX', False), ('7.0', False), ('7.1', True), ('7.3.1', True)])
def test_versions_since_7_1_read_U_from_a_card(version, card):
    assert uses_hubbard_card(version) is card


def test_U_is_added_to_the_namelists_of_earlier_versions():
    atoms = bulk('NiO', 'rocksalt', 4.2, cubic=True)
    atoms.set_initial_magnetic_moments(np.where(atoms.symbols == 'Ni', [1, 0, -1, 0, 1, 0, -1, 0], 0))
    made = make(atoms, spin_polarized=True, hubbard_U_eV={'Ni': {'d': 6.2}})
    assert made.hubbard == {'Ni1': ('3d', 6.2), 'Ni2': ('3d', 6.2)}
    add_hubbard(made)
    system = made.parameters['SYSTEM']
    assert (system['lda_plus_u'], system['hubbard_u']) == (True, {'Ni1': 6.2, 'Ni2': 6.2})


@pytest.mark.parametrize(('symbol', 'shell', 'name'), [('Ni', 'd', '3d'), ('O', 'p', '2p'), ('Gd', 'f', '4f')])
def test_a_shell_has_the_principal_quantum_number_of_the_valence(symbol, shell, name):
    made = make(Atoms(symbol, cell=[3, 3, 3], pbc=True), hubbard_U_eV={symbol: {shell: 1.0}})
    assert made.hubbard == {symbol: (name, 1.0)}
    refuse_hubbard(settings(hubbard_U_eV={symbol: {shell: 1.0}}), '6.7MaX')


def test_a_shell_to_which_an_earlier_version_applies_no_U_is_refused():
    chosen = settings(hubbard_U_eV={'Ni': {'p': 1.0}})
    refuse_hubbard(chosen, '7.1')
    with pytest.raises(AutopipeError) as refused:
        refuse_hubbard(chosen, '7.0')
    assert refused.value.code == Code.SETTINGS_REFUSED
