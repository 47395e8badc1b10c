"""MACE from a model file; a tiny one with random weights serves to try the way there and back."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

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
    """A model file for copper and gold, with random weights."""
    import torch

    modules = import_module('mace.modules')  # before e3nn, which it lets load its constants with a recent torch
    from e3nn import o3

    torch.manual_seed(3)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    network = modules.ScaleShiftMACE(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=1,
        interaction_cls=modules.interaction_classes['RealAgnosticResidualInteractionBlock'],
        interaction_cls_first=modules.interaction_classes['RealAgnosticResidualInteractionBlock'],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps('8x0e'),
        MLP_irreps=o3.Irreps('4x0e'),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([[-3.0, -3.5]]),
        avg_num_neighbors=12.0,
        atomic_numbers=[29, 79],
        correlation=2,
        radial_MLP=[8],
        atomic_inter_scale=[0.1],
        atomic_inter_shift=[0.0],
    )
    torch.set_default_dtype(previous)
    path = tmp_path_factory.mktemp('mace') / 'tiny.model'
    torch.save(network, path)
    return path


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
