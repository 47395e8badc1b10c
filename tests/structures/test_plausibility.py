import numpy as np
import pytest

from aiida_mlip_autopipe.structures.plausibility import deviations_from_fit, find_outliers, net_force

ENERGIES = {'Al': -3.7, 'Cu': -4.1, 'O': -6.0}


def structures(n_rows, elements=('Al', 'Cu')):
    """Return alloys of 4 to 12 atoms, and energies that scatter by 0.05 eV/atom."""
    rng = np.random.default_rng(1)
    symbols = [list(rng.choice(elements, size=int(rng.integers(4, 13)))) for _ in range(n_rows)]
    energies = [sum(ENERGIES[symbol] for symbol in atoms) + len(atoms) * rng.normal(0, 0.05) for atoms in symbols]
    return symbols, np.array(energies)


def test_energies_that_scatter_are_not_outliers():
    assert find_outliers(*structures(40)) == []


@pytest.mark.parametrize('n_rows', [10, 40])
def test_a_shift_of_one_energy_is_found_with_its_size(n_rows):
    symbols, energies = structures(n_rows)
    energies[3] += 1000
    (outlier,) = find_outliers(symbols, energies)
    assert (outlier.index, outlier.is_refused) == (3, True)
    assert outlier.deviation == pytest.approx(1000 / len(symbols[3]), abs=0.3)


def test_several_shifts_do_not_hide_each_other():
    symbols, energies = structures(40)
    energies[:10] += 1000
    assert [outlier.index for outlier in find_outliers(symbols, energies)] == list(range(10))


def test_a_smaller_deviation_is_reported_but_not_refused():
    symbols, energies = structures(40)
    energies[7] += 2.0 * len(symbols[7])
    (outlier,) = find_outliers(symbols, energies)
    assert (outlier.index, outlier.is_refused) == (7, False)
    assert outlier.in_mad > 10


def test_a_large_deviation_among_energies_that_scatter_widely_is_not_refused():
    symbols, energies = structures(40)
    sizes = np.array([len(atoms) for atoms in symbols])
    energies += sizes * np.random.default_rng(2).normal(0, 3, size=40)
    energies[7] += 15 * sizes[7]
    assert not any(outlier.is_refused for outlier in find_outliers(symbols, energies))


def test_few_rows_and_rare_elements_are_not_checked():
    symbols, energies = structures(9)
    energies[3] += 1000
    assert find_outliers(symbols, energies) == []
    assert find_outliers([], np.array([])) == []
    symbols, energies = structures(20)
    symbols[5] = ['O', *symbols[5]]
    energies[5] += 1000
    assert find_outliers(symbols, energies) == []


def test_the_limits_of_outliers_can_be_chosen():
    symbols, energies = structures(40)
    energies[7] += 0.9 * len(symbols[7])
    assert find_outliers(symbols, energies) == []
    assert [outlier.index for outlier in find_outliers(symbols, energies, (5.0, 0.5))] == [7]


def test_an_offset_per_element_is_removed_and_the_rest_remains():
    symbols, _ = structures(30)
    offsets = np.array([sum(ENERGIES[symbol] for symbol in atoms) for atoms in symbols])
    shifted = offsets.copy()
    shifted[4] += 0.25 * len(symbols[4])
    deviations = deviations_from_fit(symbols, shifted)
    assert deviations[4] == pytest.approx(0.25, abs=1e-6)
    np.testing.assert_allclose(np.delete(deviations, 4), 0, atol=1e-6)
    # The offsets of two elements in one composition cannot be distinguished, but their sum is removed.
    np.testing.assert_allclose(deviations_from_fit([['Al', 'Cu']] * 3, np.array([7.0, 7.0, 7.0])), 0, atol=1e-9)


def test_the_net_force_is_the_magnitude_of_the_sum_per_atom():
    forces = np.zeros((4, 3))
    forces[0], forces[1] = [3, 4, 1], [0, 0, -1]
    assert net_force(forces) == pytest.approx(5 / 4)
