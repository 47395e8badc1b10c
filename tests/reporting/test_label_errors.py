import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from aiida_mlip_autopipe.reporting import figures
from aiida_mlip_autopipe.reporting.label_errors import describe_errors, measure_cost, pair_labels
from aiida_mlip_autopipe.reporting.report_card import write_report_card
from aiida_mlip_autopipe.reporting.temperatures import divide_temperatures
from aiida_mlip_autopipe.storage.relabel import choose_labels, relabel
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.labels import RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.row import Row

MLIP = LevelOfTheory(method='mlip', code='emt', name='mlip:emt')
DFT = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe')
OFFSETS = {'Cu': 100.0, 'Au': 300.0}


def level_of(cutoff_eV):
    return DFT.model_copy(update={'parameters': {'cutoff_eV': cutoff_eV}})


def mlip_row(atoms, energy, forces, **pairs):
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.array(forces), stress=np.zeros(6))
    pairs = {'seed': 'seed-a', 'step': 0, 'label_source': MLIP.name, LEVEL: MLIP.hash} | pairs
    return Row(atoms, pairs, {LEVEL: MLIP.model_dump()})


@pytest.fixture
def rows():
    """Return rows with DFT labels, of which the MLIP has known errors, and one row without."""
    crystals = []
    for place, symbols in enumerate(('Cu4', 'Cu3Au', 'Cu2Au2', 'CuAu3', 'Cu4', 'Cu3Au')):
        atoms = bulk('Cu', cubic=True)
        atoms.symbols = Atoms(symbols).symbols
        reference = np.zeros((4, 3))
        reference[0], reference[1] = [0.3 * place, 0, 0], [-0.3 * place, 0, 0]
        errors = np.zeros((4, 3))
        errors[0, 0], errors[1, 0] = 0.1 * place, -0.1 * place
        energy = -sum(OFFSETS[symbol] for symbol in atoms.symbols)
        # The MLIP has another zero of the energy, and is wrong for two of the structures.
        wrong = {4: 0.4, 5: -0.2}.get(place, 0.0)
        pairs = {'kind': 'alloy' if place < 3 else 'surface', 'target_temperature_K': 300.0 if place < 4 else 900.0}
        row = mlip_row(atoms, wrong, reference + errors, **pairs, temperature=pairs['target_temperature_K'])
        results = {'energy': energy, 'forces': reference, 'stress': np.full(6, -0.5 * GPa)}
        about = {'labelling': {'seconds': 10.0 * (place + 1), 'threads': 2, 'attempts': [{}] * (1 + (place == 2))}}
        crystals.append(replace(relabel(row, RowLabels(results, DFT, about=about)), id=place + 1))
    return [*crystals, mlip_row(bulk('Cu', cubic=True), 0.0, np.zeros((4, 3)))]


def test_an_offset_per_element_is_removed_from_the_errors_of_energies(rows):
    labels = pair_labels(rows)
    assert labels.places == (0, 1, 2, 3, 4, 5)
    np.testing.assert_allclose(labels.energy_errors, [0, 0, 0, 0, 0.1, -0.05], atol=1e-6)


def test_the_errors_of_all_structures_and_of_groups_are_those_of_their_members(rows):
    errors = describe_errors(pair_labels(rows))
    assert (errors['reference'], errors['compared']) == ('dft:gpaw:pbe', 'mlip:emt')
    total = errors['all']
    assert (total['n_structures'], total['n_atoms']) == (6, 24)
    assert total['energy_mae_eV_per_atom'] == pytest.approx(0.15 / 6, abs=1e-6)
    assert total['energy_rmse_eV_per_atom'] == pytest.approx(np.sqrt((0.1**2 + 0.05**2) / 6), abs=1e-6)
    # Two of twelve components of structure i have the error 0.1 i.
    assert total['force_mae_eV_A'] == pytest.approx(2 * 0.1 * (1 + 2 + 3 + 4 + 5) / 72)
    assert total['force_rmse_eV_A'] == pytest.approx(np.sqrt(2 * 0.01 * (1 + 4 + 9 + 16 + 25) / 72))
    assert total['stress_rmse_GPa'] == pytest.approx(0.5)
    assert list(errors['by_kind']) == ['alloy', 'surface']
    assert errors['by_kind']['alloy']['force_mae_eV_A'] == pytest.approx(2 * 0.1 * (1 + 2) / 36)
    assert [errors['by_kind'][kind]['n_structures'] for kind in errors['by_kind']] == [3, 3]
    assert list(errors['by_temperature_K']) == ['300', '900']
    assert errors['by_temperature_K']['900']['energy_mae_eV_per_atom'] == pytest.approx(0.075, abs=1e-6)


def test_errors_by_force_are_those_of_the_atoms_with_this_reference_force(rows):
    errors = describe_errors(pair_labels(rows))['by_force_eV_A']
    assert list(errors) == ['0–0.5', '0.5–1', '1–2']
    # Forces of 0.6 and 0.9 eV/Å on two atoms each, with errors of 0.2 and 0.3 eV/Å in one of three components.
    assert (errors['0.5–1']['n_structures'], errors['0.5–1']['n_atoms']) == (2, 4)
    assert errors['0.5–1']['force_mae_eV_A'] == pytest.approx((0.2 + 0.3) / 2 / 3)
    assert errors['0.5–1']['energy_rmse_eV_per_atom'] is None
    assert sum(one['n_atoms'] for one in errors.values()) == 24


def test_the_worst_structures_are_listed_with_their_rows(rows):
    errors = describe_errors(pair_labels(rows))
    assert [one['row'] for one in errors['largest_energy_errors'][:2]] == [5, 6]
    assert [one['row'] for one in errors['largest_force_errors'][:3]] == [6, 5, 4]
    worst = errors['largest_energy_errors'][0]
    assert (worst['formula'], worst['kind'], worst['temperature_K']) == ('Cu4', 'surface', 900)
    assert worst['energy_error_eV_per_atom'] == pytest.approx(0.1, abs=1e-6)
    assert worst['max_force_error_eV_A'] == pytest.approx(0.4)


def test_the_reference_is_dft_whichever_labels_are_current(rows):
    swapped = [*choose_labels(rows[:6], 'mlip'), rows[6]]
    one, other = (describe_errors(pair_labels(found))['all'] for found in (rows, swapped))
    assert one == other
    assert pair_labels(swapped).reference[0].level.name == 'dft:gpaw:pbe'


def test_the_most_frequent_pair_of_levels_is_compared(rows):
    labels = RowLabels(rows[0].labels, level_of(600))
    mixed = [relabel(row, labels) if place < 2 else row for place, row in enumerate(choose_labels(rows, 'mlip'))]
    assert pair_labels(mixed).places == (2, 3, 4, 5)


def test_rows_with_one_set_of_labels_are_not_compared(rows):
    assert pair_labels(rows[6:]) is None
    assert measure_cost(rows[6:]) is None


def test_the_cost_is_that_of_the_current_labels(rows):
    cost = measure_cost(rows)
    assert (cost['n_rows'], cost['n_repeated']) == (6, 1)
    assert cost['core_h'] == pytest.approx(2 * 210 / 3600)
    assert (cost['median_core_s'], cost['max_core_s']) == (70, 120)
    assert measure_cost(choose_labels(rows[:6], 'mlip')) is None


def test_a_card_shows_the_errors_and_the_cost(rows, tmp_path):
    write_report_card(tmp_path / 'both.html', rows)
    page = (tmp_path / 'both.html').read_text()
    numbers = json.loads((tmp_path / 'both.json').read_text())
    assert numbers['label_errors']['all']['n_structures'] == 6
    assert numbers['label_cost']['n_rows'] == 6
    assert '<td>all</td><td>6</td><td>24</td><td>25</td>' in page
    assert '<td>force 0.5–1 eV/Å</td><td>2</td><td>4</td><td></td><td></td><td>83.33</td>' in page
    assert '<td>5</td><td>Cu4</td><td>surface</td><td>900</td><td>+100</td><td>0.4</td>' in page
    assert 'an offset per element was removed' in page
    write_report_card(tmp_path / 'one.html', rows[6:])
    assert 'label_errors' not in json.loads((tmp_path / 'one.json').read_text())


def test_the_parity_figures_have_a_point_for_each_structure_and_component(rows):
    labels = pair_labels(rows)
    _, alloys, surfaces = figures.draw_energy_parity(labels).data
    assert (alloys.name, len(alloys.x), surfaces.name, len(surfaces.x)) == ('alloy', 3, 'surface', 3)
    np.testing.assert_allclose(np.array(surfaces.y) - surfaces.x, [0, 0.1, -0.05], atol=1e-6)
    assert surfaces.text[1] == 'row 5, Cu4'
    _, alloys, surfaces = figures.draw_force_parity(labels).data
    assert len(alloys.x) + len(surfaces.x) == 72
    assert max(surfaces.x) == pytest.approx(1.5)
    assert max(surfaces.y) == pytest.approx(2.0)


def test_many_temperatures_are_divided_into_intervals():
    def at(temperature):
        pairs = {} if temperature is None else {'target_temperature_K': temperature}
        return Row(Atoms('Cu'), pairs)

    intervals, order = divide_temperatures([at(300.0 + 10 * step) for step in range(41)] + [at(None)])
    assert (intervals[0], intervals[40], intervals[41]) == ('300–350', '650–700', None)
    assert order[0] == '300–350'
    assert len(order) == 8
    assert divide_temperatures([at(None)]) == ([None], [])
