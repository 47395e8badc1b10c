from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from ase.units import _amu
from scipy import stats
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.chemistry.counts import choose_counts, smallest_counts

SILICA = {'kind': 'amorphous', 'composition': {'Si': 1, 'O': 2}, 'density_g_per_cm3': 2.2}
GLASS = {'kind': 'amorphous', 'composition': {'Cu': 0.46, 'Zr': 0.46, 'Al': 0.08}, 'density_g_per_cm3': 7.1}


def density(atoms) -> float:
    return float(atoms.get_masses().sum() * _amu * 1e3 / (atoms.get_volume() * 1e-24))


@pytest.mark.parametrize(('entry', 'value'), [(SILICA, 2.2), (GLASS, 7.1)], ids=['silica', 'metallic glass'])
def test_the_density_is_exact_and_the_cell_is_wide_enough(generate, entry, value):
    for seed in generate({**entry, 'n_seeds': 2}, cutoff_A=6.0).seeds:
        assert density(seed.atoms) == pytest.approx(value, rel=1e-6)
        assert seed.record['density_g_per_cm3'] == pytest.approx(value, rel=1e-6)
        assert (seed.atoms.cell.lengths() >= 12).all()
        assert seed.atoms.cell.angles() == pytest.approx([90, 90, 90])


def test_the_volume_per_atom_replaces_the_density(generate):
    entry = {'kind': 'amorphous', 'composition': {'Cu': 1, 'Zr': 1}, 'volume_per_atom_A3': 17.5, 'n_seeds': 1}
    (seed,) = generate(entry).seeds
    assert seed.atoms.get_volume() / len(seed.atoms) == pytest.approx(17.5, rel=1e-8)


def test_no_atoms_are_closer_than_requested(generate):
    for factor in (0.7, 0.85):
        (seed,) = generate({**GLASS, 'distance_factor': factor, 'n_seeds': 1}).seeds
        first, second, distances = neighbor_list('ijd', seed.atoms, 4.0)
        radii = covalent_radii[seed.atoms.numbers]
        ratios = distances / (radii[first] + radii[second])
        assert factor <= ratios.min() < factor + 0.05


def test_silica_is_neutral_and_its_ions_of_like_charge_are_apart(generate):
    (seed,) = generate({**SILICA, 'n_seeds': 1}).seeds
    counts = Counter(seed.atoms.get_chemical_symbols())
    assert counts['O'] == 2 * counts['Si']
    assert seed.record['counts'] == counts
    assert seed.record['oxidation_states'] == {'Si': 4.0, 'O': -2.0}
    assert seed.atoms.get_initial_charges().sum() == 0
    first, distances = neighbor_list('id', seed.atoms, {('O', 'O'): 3.0, ('Si', 'Si'): 3.0})
    assert distances[seed.atoms.numbers[first] == atomic_numbers['O']].min() >= 2.0
    assert distances[seed.atoms.numbers[first] == atomic_numbers['Si']].min() >= 0.75 * 2 * 1.11


def test_metals_have_no_charges_and_zero_states_mean_no_ions(generate):
    (seed,) = generate({**GLASS, 'n_seeds': 1}).seeds
    assert not seed.atoms.has('initial_charges')
    (seed,) = generate({**SILICA, 'oxidation_states': {'Si': 0, 'O': 0}, 'n_seeds': 1}).seeds
    assert not seed.atoms.has('initial_charges')
    assert 'oxidation_states' not in seed.record


def test_the_number_of_atoms_can_be_set(generate):
    (seed,) = generate({**SILICA, 'n_atoms': 72, 'n_seeds': 1}).seeds
    assert Counter(seed.atoms.get_chemical_symbols()) == {'Si': 24, 'O': 48}


def test_the_atoms_are_spread_uniformly(generate):
    seeds = generate({**GLASS, 'n_seeds': 8}).seeds
    fractions = np.concatenate([seed.atoms.get_scaled_positions() for seed in seeds])
    for axis in range(3):
        assert stats.kstest(fractions[:, axis], 'uniform').pvalue > 0.01
    # Each element has the same distribution: no order along the list of atoms.
    copper = np.concatenate([seed.atoms.get_scaled_positions()[seed.atoms.symbols == 'Cu'] for seed in seeds])
    assert np.histogramdd(copper, bins=2)[0].min() > 0.6 * len(copper) / 8


def test_seeds_are_reproducible_and_depend_on_the_random_seed(generate):
    entry = {**GLASS, 'n_seeds': 2}
    first, again, other = generate(entry).seeds, generate(entry).seeds, generate(entry, random_seed=8).seeds
    assert [seed.seed_id for seed in first] == [seed.seed_id for seed in again]
    assert not {seed.seed_id for seed in first} & {seed.seed_id for seed in other}
    assert not np.allclose(first[0].atoms.positions, first[1].atoms.positions)


def test_an_impossible_density_is_refused_with_a_possible_one(generate):
    with refused(Code.DENSITY_IMPOSSIBLE, '20 g/cm³', 'Al8Cu46Zr46') as caught:
        generate({**GLASS, 'density_g_per_cm3': 20, 'n_seeds': 1})
    possible = float(str(caught.value).partition('at most ')[2].split()[0])
    assert 7.1 < possible < 20
    generate({**GLASS, 'density_g_per_cm3': possible, 'n_seeds': 1})


def test_too_few_atoms_for_the_calculator_are_refused_with_the_number_needed(generate):
    with refused(Code.CELL_TOO_SMALL, '24 atoms', '12.00 Å') as caught:
        generate({**SILICA, 'n_atoms': 24, 'n_seeds': 1}, cutoff_A=6.0)
    needed = int(str(caught.value).partition('at least ')[2].split()[0])
    generate({**SILICA, 'n_atoms': needed + -needed % 3, 'n_seeds': 1}, cutoff_A=6.0)


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'density_g_per_cm3': None}, Code.VALUES_INCOMPLETE, ['density_g_per_cm3', 'volume_per_atom_A3']),
        ({'volume_per_atom_A3': 15}, Code.VALUES_EXCLUDE, ['density_g_per_cm3', 'volume_per_atom_A3']),
        ({'composition': {'Si': 1, 'O': 0}}, Code.COMPOSITION_INVALID, ['composition']),
        ({'composition': {'Si': 1, 'Ox': 2}}, Code.ELEMENT_UNKNOWN, ["'Ox'"]),
        ({'oxidation_states': {'Si': 4}}, Code.VALUE_INVALID, ['Si, O']),
        ({'oxidation_states': {'Si': 3, 'O': -2}}, Code.CHARGE_UNBALANCED, ['-1 e', 'Si 1 O 2']),
        ({'n_atoms': 100}, Code.COMPOSITION_IMPOSSIBLE, ['100 atoms', 'Si 0.3333']),
        ({'composition': {'Li': 1, 'O': 9}}, Code.CHARGE_UNBALANCED, ['Li1O9', 'oxidation_states']),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(generate, fields, code, values):
    entry = {name: value for name, value in {**SILICA, 'n_seeds': 1, **fields}.items() if value is not None}
    with refused(code, *values):
        generate(entry)


def test_rounded_fractions_are_recognised():
    assert smallest_counts({'Si': 0.333, 'O': 0.667}) == {'Si': 1, 'O': 2}
    assert smallest_counts({'Cu': 0.46, 'Zr': 0.46, 'Al': 0.08}) == {'Cu': 23, 'Zr': 23, 'Al': 4}


def test_the_first_total_that_is_neutral_and_close_to_the_composition_is_chosen():
    fractions, charges = {'Li': 0.1, 'X': 0.1, 'H2O': 0.8}, {'Li': 1.0, 'X': -1.0}
    assert choose_counts(fractions, range(7, 30), 0.05, charges, 'molecules') == {'Li': 1, 'X': 1, 'H2O': 8}
    # With 15 molecules in total, there would be an odd number of ions, one of them without a partner.
    with refused(Code.COMPOSITION_IMPOSSIBLE, '15 molecules'):
        choose_counts(fractions, [15], 0.05, charges, 'molecules')
    with refused(Code.COMPOSITION_IMPOSSIBLE, '13 molecules', 'Li 1 X 1 H2O 11'):
        choose_counts(fractions, [13], 0.05, charges, 'molecules')


@pytest.mark.parametrize(
    ('max_atoms', 'cutoff_A', 'values'), [(60, 0.0, ['100 atoms', '60', 'n_atoms']), (300, 12.0, ['24.00 Å', '300'])]
)
def test_a_maximum_number_of_atoms_that_is_too_small_is_reported_and_not_the_composition(
    generate, max_atoms, cutoff_A, values
):
    with refused(Code.TOO_MANY_ATOMS, 'validation.max_atoms', *values):
        generate({**SILICA, 'n_seeds': 1, 'validation': {'max_atoms': max_atoms}}, cutoff_A=cutoff_A)


def test_a_composition_that_rounding_changes_is_reported(generate):
    metal = {**GLASS, 'n_atoms': 100, 'composition': {'Cu': 0.884, 'Zr': 0.116}}
    (note,) = generate({**metal, 'n_seeds': 2}).report['entries']['0']['notes']
    assert all(value in note for value in ('100 atoms', 'Zr 0.12', 'Zr 0.116'))
    metal['composition'] = {'Cu': 0.88, 'Zr': 0.12}
    assert generate({**metal, 'n_seeds': 1}).report['entries']['0']['notes'] == []
