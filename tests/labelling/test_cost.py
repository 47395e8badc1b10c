"""The predicted cost of labels, its correction by measurements, and the limits that use it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from aiida_mlip_autopipe.calculators.kinds.emt import EMTSettings
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.labelling.cost import (
    Calibration,
    calibrate,
    predict_core_s,
    predict_labels,
    terms_of_gpaw,
    within_budget,
)
from aiida_mlip_autopipe.labelling.screening import LeftOut

FAST = GPAWSettings(preset='fast')


def test_the_terms_are_those_of_a_plane_wave_code():
    silicon = bulk('Si', cubic=True)
    settings = GPAWSettings(plane_wave_cutoff_eV=400.0, kspacing_per_A=0.5)
    one, atoms, waves, per_band, per_pair = terms_of_gpaw(silicon, settings)
    assert (one, atoms) == (1, 8)
    # The number of plane waves in a sphere of the radius √(2E), in units of the volume per state.
    radius_per_A = np.sqrt(2 * 9.1093837e-31 * 400 * 1.602176634e-19) / 1.054571817e-34 * 1e-10
    assert waves == pytest.approx(silicon.get_volume() * radius_per_A**3 / (6 * np.pi**2) / 1000, rel=1e-6)
    # 3×3×3 k-points, of which time reversal leaves Γ and half of the others; 32 electrons, and GPAW's empty bands.
    assert per_band == pytest.approx(14 * 23.2 * waves)
    assert per_pair == pytest.approx(14 * 23.2**2 * waves)


def test_spin_polarisation_doubles_all_terms_but_the_fixed_one():
    without, with_spin = (terms_of_gpaw(bulk('Fe'), GPAWSettings(spin_polarized=spin)) for spin in (False, True))
    assert with_spin == pytest.approx(without * [1, 2, 2, 2, 2])


def test_the_vacuum_of_molecules_and_slabs_costs_plane_waves_but_no_k_points():
    assert terms_of_gpaw(molecule('CH4'), FAST)[2] > terms_of_gpaw(bulk('Si'), FAST)[2]
    slab, thick = (fcc111('Al', (1, 1, 3), vacuum=vacuum_A) for vacuum_A in (6.0, 12.0))
    slab.pbc = thick.pbc = True
    ratio = terms_of_gpaw(thick, FAST) / terms_of_gpaw(slab, FAST)
    assert ratio[1] == 1
    assert ratio[2:] == pytest.approx([thick.get_volume() / slab.get_volume()] * 3)


def test_larger_cells_higher_cutoffs_and_denser_k_points_cost_more():
    silicon = bulk('Si', cubic=True)
    cost = predict_core_s(silicon, FAST)
    assert cost is not None
    for atoms, settings in (
        (silicon * (2, 1, 1), FAST),
        (silicon, GPAWSettings(preset='fast', plane_wave_cutoff_eV=600.0)),
        (silicon, GPAWSettings(preset='fast', kspacing_per_A=0.25)),
    ):
        assert predict_core_s(atoms, settings) > 1.2 * cost


def rattled(atoms):
    atoms.rattle(0.05, seed=1)
    return atoms


IRON = {'spin_polarized': True, 'initial_magnetic_moments': {'Fe': 2.5}}
# Seconds of the processor that GPAW 26.7 took with one thread.
MEASURED_S = [
    (bulk('Al', cubic=True), {'plane_wave_cutoff_eV': 400.0, 'kspacing_per_A': 0.5}, 7.4),
    (bulk('Si'), {'plane_wave_cutoff_eV': 400.0, 'kspacing_per_A': 0.5}, 7.1),
    (bulk('Si', cubic=True), {'plane_wave_cutoff_eV': 250.0, 'kspacing_per_A': 0.8}, 5.3),
    (bulk('Si', cubic=True), {'plane_wave_cutoff_eV': 400.0, 'kspacing_per_A': 0.5}, 15.6),
    (bulk('Fe', cubic=True), {'plane_wave_cutoff_eV': 300.0, 'kspacing_per_A': 1.1, **IRON}, 4.6),
    (bulk('MgO', 'rocksalt', a=4.25), {'plane_wave_cutoff_eV': 600.0, 'kspacing_per_A': 0.3}, 57.4),
    (bulk('MgO', 'rocksalt', a=4.25, cubic=True), {'plane_wave_cutoff_eV': 400.0, 'kspacing_per_A': 2.0}, 3.1),
    (molecule('H2O'), {'plane_wave_cutoff_eV': 400.0}, 23.3),
]


@pytest.mark.parametrize(('atoms', 'settings', 'measured_s'), MEASURED_S)
def test_predictions_are_within_a_factor_of_two_of_measurements(atoms, settings, measured_s):
    predicted = predict_core_s(rattled(atoms), GPAWSettings(**settings))
    assert measured_s / 2 < predicted < 2 * measured_s


def test_a_calculator_without_a_cost_model_has_no_prediction():
    assert predict_core_s(bulk('Cu'), EMTSettings()) is None


def test_a_calibration_finds_a_slower_computer_despite_an_outlier():
    predicted = np.array([1.0, 3.0, 10.0, 40.0, 200.0])
    measured = 2.5 * predicted * [0.8, 1.2, 1.0, 1.1, 50.0]
    calibration = calibrate(predicted, measured)
    assert calibration.n_labels == 5
    assert calibration.factor == pytest.approx(2.75)
    assert 1 < calibration.spread < 1.6


def test_without_labels_nothing_is_corrected():
    assert calibrate([], []).factor == 1.0
    assert calibrate([2.0], [4.0]).factor == pytest.approx(2.0)


def test_the_budget_is_spent_in_the_order_of_the_structures():
    screened = within_budget([3600.0, 5400.0, 7200.0, 900.0], budget_core_hours=3.0)
    assert screened.kept == (0, 1, 3)
    assert screened.left_out == {'budget_core_hours': (LeftOut(2, 2.0, 0.5),)}
    assert within_budget([3600.0], budget_core_hours=1.0).left_out == {}


def test_isolated_atoms_cost_as_much_as_a_spin_polarised_atom_in_its_box_and_come_first_in_the_budget():
    silicon = bulk('Si', cubic=True)
    of_structure, of_atom = predict_core_s(silicon, FAST), predict_core_s(Atoms('Si'), FAST)
    without = predict_labels([silicon] * 2, FAST)
    with_atom = predict_labels([silicon] * 2, FAST, isolated_atoms=['Si'])
    assert without.core_s == pytest.approx(2 * of_structure)
    assert with_atom.core_s == pytest.approx(2 * of_structure + of_atom)
    budget = (of_structure + 0.5 * of_atom) / 3600
    assert predict_labels([silicon] * 2, FAST, budget_core_hours=budget).screening.kept == (0,)
    limited = predict_labels([silicon] * 2, FAST, isolated_atoms=['Si'], budget_core_hours=budget)
    assert (limited.screening.kept, limited.core_s) == ((), pytest.approx(of_atom))


def test_without_a_cost_model_the_cost_is_unknown_before_the_first_labels():
    assert predict_labels([bulk('Cu')], None) is None
    assert predict_labels([], None, isolated_atoms=['Cu']) is None
    made = Calibration(factor=2.0, n_labels=3)
    assert predict_labels([bulk('Cu', cubic=True)], None, made, isolated_atoms=['Cu']).core_s == pytest.approx(10.0)
