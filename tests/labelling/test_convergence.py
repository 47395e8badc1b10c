"""Which settings are converged, with a Lennard-Jones potential whose error depends on its cutoff."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.lj import LennardJones
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.labelling.convergence import (
    EXPANSION,
    Series,
    choose_structures,
    converge,
    expanded,
    parse_series,
    points_of,
    recommended_settings,
    settings_with,
)
from aiida_mlip_autopipe.labelling.label import Failure, Label

CUTOFF = Series('parameters.rc', (3.0, 4.0, 6.0, 9.0, 14.0))
SETTINGS = {'kind': 'custom', 'parameters': {'sigma': 2.3, 'epsilon': 0.4, 'rc': 10.0, 'smooth': True}}


@pytest.fixture(scope='module')
def copper():
    atoms = bulk('Cu') * (2, 1, 1)
    atoms.rattle(0.1, seed=2)
    return atoms


def evaluate(settings, structures):
    labels = []
    for atoms in structures:
        computed = atoms.copy()
        computed.calc = LennardJones(**settings['parameters'])
        results = computed.get_potential_energy(), computed.get_forces(), computed.get_stress()
        labels.append(Label(results[0], 'total', results[1], stress_eV_A3=results[2], seconds=0.5))
    return labels


def test_the_cheapest_value_is_recommended_if_all_errors_from_it_onwards_are_small_enough(copper):
    (found,) = converge([copper], SETTINGS, [CUTOFF], evaluate, force_error_eV_A=0.01, energy_error_eV=0.01)
    forces = [point.force_error_eV_A for point in found.points]
    assert [point.value for point in found.points] == list(CUTOFF.values)
    assert forces == sorted(forces, reverse=True)
    assert found.points[-1].force_error_eV_A == found.points[-1].energy_error_eV == 0
    accurate = [point.force_error_eV_A <= 0.01 and point.energy_error_eV <= 0.01 for point in found.points]
    assert found.recommended == CUTOFF.values[accurate.index(True)]
    assert 0 < accurate.index(True) < 4
    assert recommended_settings([found]) == {'parameters': {'rc': found.recommended}}


def test_the_errors_are_those_of_forces_relative_energies_and_stresses(copper):
    (found,) = converge([copper], SETTINGS, [CUTOFF], evaluate, force_error_eV_A=0.01, energy_error_eV=0.01)
    structures = [copper, expanded(copper)]
    coarse, fine = (evaluate(settings_with(SETTINGS, {CUTOFF.name: rc}), structures) for rc in (3.0, 14.0))
    relative = [(labels[1].energy_eV - labels[0].energy_eV) / 2 for labels in (coarse, fine)]
    rms = [np.sqrt(np.mean((a.forces_eV_A - b.forces_eV_A) ** 2)) for a, b in zip(coarse, fine, strict=True)]
    point = found.points[0]
    assert point.energy_error_eV == pytest.approx(abs(relative[0] - relative[1]))
    assert point.force_error_eV_A == pytest.approx(max(rms))
    largest = max(np.abs(a.stress_eV_A3 - b.stress_eV_A3).max() for a, b in zip(coarse, fine, strict=True))
    assert point.stress_error_GPa == pytest.approx(160.21766 * largest)
    assert point.seconds == 1.0


def test_nothing_is_recommended_if_only_the_reference_is_accurate(copper):
    (found,) = converge([copper], SETTINGS, [CUTOFF], evaluate, force_error_eV_A=1e-9, energy_error_eV=1e-9)
    assert found.recommended is None
    assert recommended_settings([found]) == {}


def test_a_value_with_the_labels_of_the_reference_is_not_recommended(copper):
    def clipped(settings, structures):
        return evaluate(settings_with(settings, {CUTOFF.name: min(settings['parameters']['rc'], 6.0)}), structures)

    (found,) = converge([copper], SETTINGS, [CUTOFF], clipped, force_error_eV_A=1e-9, energy_error_eV=1e-9)
    assert [point.force_error_eV_A for point in found.points[2:]] == [0, 0, 0]
    assert found.recommended is None


def test_the_cheapest_value_of_a_setting_without_effect_is_recommended(copper):
    def constant(settings, structures):
        return evaluate(settings_with(settings, {CUTOFF.name: 6.0}), structures)

    (found,) = converge([copper], SETTINGS, [CUTOFF], constant, force_error_eV_A=1e-9, energy_error_eV=1e-9)
    assert found.recommended == CUTOFF.values[0]


def test_two_settings_share_the_requested_error_and_are_varied_one_at_a_time(copper):
    width = Series('parameters.ro', (2.0, 2.5, 2.9))
    settings = {**SETTINGS, 'parameters': SETTINGS['parameters'] | {'ro': 2.0}}
    assert points_of([CUTOFF, width])[-1] == {'parameters.rc': 4.0, 'parameters.ro': 2.9}
    assert len(points_of([CUTOFF, width])) == 5 + 3 - 1  # both have the point with moderate values
    (alone,) = converge([copper], settings, [CUTOFF], evaluate, force_error_eV_A=0.01, energy_error_eV=0.01)
    limit = alone.points[2].force_error_eV_A * 1.5
    both = converge([copper], settings, [CUTOFF, width], evaluate, force_error_eV_A=limit, energy_error_eV=10.0)
    (one,) = converge([copper], settings, [CUTOFF], evaluate, force_error_eV_A=limit, energy_error_eV=10.0)
    assert one.recommended < both[0].recommended


def test_a_structure_that_fails_is_left_out_with_its_reason(copper):
    def failing(settings, structures):
        outcomes = evaluate(settings, structures)
        return [
            Failure('no luck', 'not_converged') if settings['parameters']['rc'] == 6 else outcomes[0],
            *outcomes[1:],
        ]

    good = bulk('Cu')
    (found,) = converge([copper, good], SETTINGS, [CUTOFF], failing, force_error_eV_A=0.01, energy_error_eV=0.01)
    assert found.failed == {0: 'parameters.rc 6: no luck'}
    assert np.isfinite([point.energy_error_eV for point in found.points]).all()
    with refused(Code.CALCULATION_UNCONVERGED, 'no luck'):
        converge([copper], SETTINGS, [CUTOFF], failing, force_error_eV_A=0.01, energy_error_eV=0.01)


def test_structures_of_different_composition_size_and_vacuum_are_chosen_in_the_same_order_each_time():
    similar = [bulk('Cu') for _ in range(5)]
    for number, atoms in enumerate(similar):
        atoms.rattle(0.05, seed=number)
    slab = fcc111('Cu', (1, 1, 4), vacuum=8.0)
    structures = [
        bulk('Cu', cubic=True),
        *similar,
        slab,
        bulk('MgO', 'rocksalt', 4.2),
        Atoms('Cu2', [[0, 0, 0], [0, 0, 2]]),
    ]
    assert choose_structures(structures, 4) == [1, 7, 6, 0]
    # The rattled copies add nothing.
    assert choose_structures(structures, 9) == [1, 7, 6, 0]
    assert choose_structures(structures, 9, max_atoms=3) == [1, 7]


def test_molecules_without_a_cell_can_be_chosen():
    assert choose_structures([molecule('H2O'), molecule('CH4'), molecule('C6H6')], 2) == [1, 2]
    assert choose_structures([molecule('H2O')], 2) == [0]


def test_a_limit_that_all_structures_exceed_is_refused():
    with refused(Code.TOO_MANY_ATOMS, 'max_atoms: 3'):
        choose_structures([bulk('Cu', cubic=True)], 2, max_atoms=3)


def test_an_expanded_copy_has_longer_bonds_in_all_directions():
    slab = fcc111('Cu', (1, 1, 3), vacuum=8.0)
    copy = expanded(slab)
    assert copy.get_all_distances() == pytest.approx(EXPANSION * slab.get_all_distances())
    assert copy.cell.array == pytest.approx(EXPANSION * slab.cell.array)


@pytest.mark.parametrize('name', ['encut', 'parameters.encut', 'kind.rc', 'parameters.rc.x'])
def test_an_unknown_setting_is_refused(name):
    with refused(Code.KEY_UNKNOWN, name):
        settings_with(SETTINGS, {name: 1.0})


def test_a_series_is_a_name_and_numbers():
    assert parse_series('parameters.rc=3,4.5,6') == Series('parameters.rc', (3.0, 4.5, 6.0))
    for text in ('rc=3,4', 'rc=3,3,4', 'rc', '=1,2,3', 'rc=a,b,c', 'rc=1,2,'):
        with refused(Code.WRONG_PATTERN, text):
            parse_series(text)
