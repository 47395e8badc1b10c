"""MACE from a model file. The tests use a tiny model with random weights."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from ase import Atoms
from support.errors import refused
from support.tiny_mace import write_tiny_mace

from aiida_mlip_autopipe.calculators.kinds.mace import MACELoader, MACESettings
from aiida_mlip_autopipe.core.codes import Code

needs_mace = pytest.mark.skipif(find_spec('mace') is None, reason='MACE is not installed')


@pytest.mark.skipif(find_spec('mace') is not None, reason='MACE is installed')
def test_a_missing_package_is_refused_before_a_missing_file():
    with refused(Code.CALCULATOR_MISSING, "'mace-torch'", '[mace]'):
        MACELoader(MACESettings(model='/no/such.model')).check()


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_mace(tmp_path_factory.mktemp('mace') / 'tiny.model')


@needs_mace
@pytest.mark.mlip
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_run_continues_exactly(job_folder, alloy, same_frames, model, dtype):
    calculator = {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu', 'dtype': dtype}
    settings = {'n_steps': 6, 'frame_interval': 1, 'ensemble': 'npt'}
    uninterrupted = job_folder('uninterrupted').write(alloy, settings, calculator=calculator)
    parts = job_folder('parts').write(alloy, settings | {'n_steps': 3}, calculator=calculator)
    result = uninterrupted.run()
    assert (result.outcome, result.precision, result.model_name) == ('completed', dtype, 'tiny.model')
    assert result.model_sha256 == MACELoader(MACESettings(model=str(model))).check()
    loaded = MACELoader(MACESettings(**calculator)).load().calculator
    pair = Atoms('Cu2', [[0, 0, 0], [0, 0, 15]])
    assert set(result.isolated_atom_energies_eV) == set(alloy.symbols)
    assert result.isolated_atom_energies_eV['Cu'] == pytest.approx(energy_of(loaded, pair) / 2, abs=1e-5)
    parts.run()
    parts.write(alloy, settings, calculator=calculator).run()
    same_frames(parts.frames(), uninterrupted.frames())


@needs_mace
@pytest.mark.mlip
def test_the_elements_are_those_of_the_model(job_folder, copper, model):
    calculator = {'kind': 'mace', 'model': str(model), 'device': 'cpu'}
    copper.symbols[0] = 'Ni'
    result = job_folder().write(copper, calculator=calculator).run()
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert MACELoader(MACESettings(**calculator)).load().elements == {29, 79}


@pytest.fixture(scope='module')
def with_and_without_dispersion(model):
    settings = MACESettings(model=str(model), device='cpu', dtype='float64')
    return [
        MACELoader(settings.model_copy(update={'dispersion': dispersion})).load().calculator
        for dispersion in (True, False)
    ]


def energy_of(calculator, atoms: Atoms) -> float:
    atoms.calc = calculator
    return atoms.get_potential_energy()


@needs_mace
@pytest.mark.mlip
def test_dispersion_extends_beyond_the_model_and_decays_with_the_sixth_power(with_and_without_dispersion):
    """Grimme's D3: ``-C6/r⁶`` at large distances, where the C8 terms and the damping are at most a few percent."""
    corrected, plain = with_and_without_dispersion
    dispersion = []
    for distance in (4.5, 12.0, 18.0):
        pair = Atoms('Cu2', [[0, 0, 0], [distance, 0, 0]])
        dispersion.append(energy_of(corrected, pair) - energy_of(plain, pair))
    assert dispersion[0] < dispersion[1] < dispersion[2] < 0.0
    assert dispersion[1] / dispersion[2] == pytest.approx((18 / 12) ** 6, rel=0.1)


@needs_mace
@pytest.mark.mlip
def test_forces_and_stress_with_dispersion_are_the_derivatives_of_the_energy(with_and_without_dispersion, alloy):
    corrected, plain = with_and_without_dispersion
    alloy.rattle(0.05, seed=1)
    alloy.calc = corrected
    forces, stress, volume = alloy.get_forces(), alloy.get_stress(), alloy.get_volume()
    step = 1e-3
    displaced = [alloy.copy(), alloy.copy()]
    strained = [alloy.copy(), alloy.copy()]
    for sign, moved, stretched in zip((1, -1), displaced, strained, strict=True):
        moved.positions[2, 1] += sign * step
        stretched.set_cell(alloy.cell.array * [1 + sign * step, 1, 1], scale_atoms=True)
    upper, lower = (energy_of(corrected, atoms) for atoms in displaced)
    assert forces[2, 1] == pytest.approx(-(upper - lower) / (2 * step), abs=1e-4)
    upper, lower = (energy_of(corrected, atoms) for atoms in strained)
    assert stress[0] == pytest.approx((upper - lower) / (2 * step) / volume, abs=1e-4)
    without = alloy.copy()
    without.calc = plain
    assert stress[0] - without.get_stress()[0] > 1e-3  # attraction contracts the cell


@needs_mace
@pytest.mark.mlip
def test_a_run_with_dispersion_continues_exactly(job_folder, alloy, same_frames, model):
    calculator = {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu', 'dispersion': True}
    settings = {'n_steps': 4, 'frame_interval': 1, 'ensemble': 'npt'}
    uninterrupted = job_folder('uninterrupted').write(alloy, settings, calculator=calculator)
    parts = job_folder('parts').write(alloy, settings | {'n_steps': 2}, calculator=calculator)
    assert uninterrupted.run().outcome == parts.run().outcome == 'completed'
    parts.write(alloy, settings, calculator=calculator).run()
    same_frames(parts.frames(), uninterrupted.frames())
