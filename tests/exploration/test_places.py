"""Lists and ranges of temperature and pressure are distributed over the seeds by their places."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aiida_mlip_autopipe.exploration import ExplorationSettings, read_exploration
from aiida_mlip_autopipe.structures.seed import Place


@pytest.mark.parametrize('offset', [0, 7, 2**32 - 1])
@pytest.mark.parametrize(('temperatures', 'pressures', 'n_positions'), [((1, 2, 3), (0, 5), 3), ((1, 2), (0, 5), 4)])
def test_each_structure_gets_each_pair_once_and_a_round_uses_all_values_equally(
    temperatures, pressures, n_positions, offset
):
    settings = ExplorationSettings(temperature_K=temperatures, pressure_GPa=pressures)
    n_pairs = len(temperatures) * len(pressures)
    for position in range(n_positions):
        own = [settings.for_seed(Place(offset, position, number)) for number in range(n_pairs)]
        assert len({(one.temperature_K, one.pressure_GPa) for one in own}) == n_pairs
    for number in range(n_pairs):
        counts = Counter(settings.for_seed(Place(offset, p, number)).temperature_K for p in range(12))
        assert set(counts.values()) == {12 // len(temperatures)}


@pytest.mark.parametrize('offset', [0, 12345678])
@pytest.mark.parametrize('along', ['position', 'round'])
def test_any_number_of_seeds_covers_a_range_evenly(along, offset):
    settings = ExplorationSettings(temperature_K={'min': 100, 'max': 1100}, pressure_GPa={'min': -2, 'max': 8})
    for count in (5, 16, 60):
        places = [Place(offset=offset, **{'position': 0, 'round': 0, along: n}) for n in range(count)]
        found = [settings.for_seed(place) for place in places]
        for values in (
            [(one.temperature_K - 100) / 1000 for one in found],
            [(one.pressure_GPa + 2) / 10 for one in found],
        ):
            assert 0 <= min(values) <= max(values) <= 1
            edges = np.sort(np.append(values, min(values) + 1))
            assert np.diff(edges).max() < 3 / count
        if count == 60:  # temperature and pressure are not correlated
            pairs = np.array([(one.temperature_K, one.pressure_GPa) for one in found])
            assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.2


@pytest.mark.parametrize('temperatures', [(100, 200, 300), {'min': 100, 'max': 300}])
def test_normal_modes_have_the_temperatures_of_the_dynamics(temperatures):
    for place in (Place(3, 0, 0), Place(3, 1, 0), Place(70_000, 2, 5)):
        found = [
            read_exploration({'kind': kind, 'temperature_K': temperatures}).for_seed(place).scalar_temperature()
            for kind in ('dynamics', 'normal_modes')
        ]
        assert found[0] == found[1]


def test_all_places_of_an_entry_have_different_values_of_a_range():
    settings = ExplorationSettings(temperature_K={'min': 100, 'max': 1100}, pressure_GPa={'min': -2, 'max': 8})
    found = [settings.for_seed(Place(5, position, number)) for position in range(6) for number in range(6)]
    assert (
        len({round(one.temperature_K, 6) for one in found}) == len({round(one.pressure_GPa, 6) for one in found}) == 36
    )


def test_a_single_value_does_not_change():
    settings = ExplorationSettings(temperature_K=500, pressure_GPa=1)
    assert settings.for_seed(Place(3, 2, 1)) == settings
