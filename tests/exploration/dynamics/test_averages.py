"""Running averages in almost constant memory, and the number of independent values."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.exploration.dynamics.averages import Blocking
from aiida_mlip_autopipe.exploration.simulation import Simulation


def blocking_of(series) -> Blocking:
    blocking = Blocking()
    for value in series:
        blocking.add(float(value))
    return blocking


@pytest.mark.parametrize('correlation', [0.0, 0.9])
def test_the_statistical_inefficiency_of_a_correlated_series_agrees_with_its_exact_value(correlation):
    """An AR(1) series with the autocorrelation ρ at lag one has the inefficiency (1 + ρ)/(1 - ρ)."""
    rng = np.random.default_rng(0)
    noise, series = rng.normal(size=40_000), np.zeros(40_000)
    for index in range(1, len(series)):
        series[index] = correlation * series[index - 1] + np.sqrt(1 - correlation**2) * noise[index]
    summary = blocking_of(series).summary()
    expected = (1 + correlation) / (1 - correlation)
    # The maximum of several estimates is too large by up to the error of the last one, some 40 % for 16 blocks.
    assert 0.85 * expected < summary['statistical_inefficiency'] < 2.2 * expected
    assert summary['mean'] == pytest.approx(series.mean())
    assert summary['standard_deviation'] == pytest.approx(series.std(ddof=1))
    assert summary['n_independent'] == pytest.approx(40_000 / summary['statistical_inefficiency'])


def test_averages_continue_from_their_dumped_state():
    series = np.random.default_rng(1).normal(size=333)
    first = blocking_of(series[:101])
    second = Blocking(first.dump())
    for value in series[101:]:
        second.add(float(value))
    assert second.dump() == blocking_of(series).dump()


def test_a_short_series_has_no_error_estimate():
    assert blocking_of([1.0, 2.0, 3.0]).summary() == {'n': 3, 'mean': 2.0}
    assert Blocking().mean is None


def test_the_values_of_a_constant_series_count_as_independent():
    assert blocking_of([2.0] * 100).summary()['statistical_inefficiency'] == 1.0


class Tethers(Calculator):
    """A cheap harmonic tether of each atom to its initial position."""

    implemented_properties = ('energy', 'forces')
    anchors = None

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.anchors is None:
            self.anchors = atoms.positions.copy()
        displacements = atoms.positions - self.anchors
        self.results = {'energy': float((displacements**2).sum()), 'forces': -2 * displacements}


class TethersLoader(EMTLoader):
    def load(self):
        return Loaded(Tethers())


def test_memory_does_not_grow_with_the_number_of_steps(job_folder, copper, monkeypatch):
    # The memory is measured during one run, after all caches have been filled.
    monkeypatch.setattr(CALCULATORS, 'load', lambda kind: TethersLoader)
    sizes = {}
    write_checkpoint = Simulation._write_checkpoint

    def measure(self):
        write_checkpoint(self)
        gc.collect()
        sizes[self.step] = tracemalloc.get_traced_memory()[0]

    monkeypatch.setattr(Simulation, '_write_checkpoint', measure)
    settings = {
        'n_steps': 180,
        'frame_interval': 1,
        'checkpoint_interval': 60,
        'ensemble': 'nvt',
        'guards': {'distance_factor': None, 'detached_factor': None},
    }
    folder = job_folder().write(copper, settings)
    tracemalloc.start()
    try:
        assert folder.run().outcome == 'completed'
    finally:
        tracemalloc.stop()
    # 120 frames held in memory would take several hundred kB.
    assert sizes[180] - sizes[60] < 80_000
