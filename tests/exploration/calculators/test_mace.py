"""MACE from a model file; a tiny one with random weights serves to try the way there and back."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from support.tiny_mace import write_tiny_mace

from aiida_mlip_autopipe.exploration import CalculatorRefusedError, model_sha256
from aiida_mlip_autopipe.exploration.calculators.mace import MACELoader, MACESettings

needs_mace = pytest.mark.skipif(find_spec('mace') is None, reason='MACE is not installed')


@pytest.mark.skipif(find_spec('mace') is not None, reason='MACE is installed')
def test_without_the_package_it_is_refused_before_the_file_is_looked_for():
    with pytest.raises(CalculatorRefusedError, match='mace-torch') as caught:
        model_sha256(MACESettings(model='/no/such.model'))
    assert caught.value.refusal == 'calculator_missing'


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_mace(tmp_path_factory.mktemp('mace') / 'tiny.model')


@needs_mace
@pytest.mark.mlip
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_run_goes_on_exactly(job_folder, alloy, same_frames, model, dtype):
    calculator = {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu', 'dtype': dtype}
    settings = {'n_steps': 6, 'frame_interval': 1, 'ensemble': 'npt'}
    whole = job_folder('whole').write(alloy, settings, calculator=calculator)
    parts = job_folder('parts').write(alloy, settings | {'n_steps': 3}, calculator=calculator)
    result = whole.run()
    assert (result.outcome, result.precision, result.model_name) == ('completed', dtype, 'tiny.model')
    assert result.model_sha256 == model_sha256(MACESettings(model=str(model)))
    parts.run()
    parts.write(alloy, settings, calculator=calculator).run()
    same_frames(parts.frames(), whole.frames())


@needs_mace
@pytest.mark.mlip
def test_it_knows_its_elements(job_folder, copper, model):
    calculator = {'kind': 'mace', 'model': str(model), 'device': 'cpu'}
    copper.symbols[0] = 'Ni'
    result = job_folder().write(copper, calculator=calculator).run()
    assert (result.outcome, result.refusal) == ('refused', 'element')
    assert MACELoader(MACESettings(**calculator)).load().elements == {29, 79}
