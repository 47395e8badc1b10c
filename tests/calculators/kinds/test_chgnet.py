"""CHGNet with its shipped weights."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.calculators.kinds.chgnet import SHIPPED, CHGNetLoader, CHGNetSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import resolve_model

needs_chgnet = pytest.mark.skipif(find_spec('chgnet') is None, reason='CHGNet is not installed')


@pytest.mark.skipif(find_spec('chgnet') is not None, reason='CHGNet is installed')
def test_a_missing_package_is_refused_before_any_import(job_folder, copper):
    with refused(Code.CALCULATOR_MISSING, "'chgnet'", '[chgnet]'):
        CHGNetLoader(CHGNetSettings()).check()
    result = job_folder().write(copper, calculator={'kind': 'chgnet'}).run()
    assert (result.outcome, result.code) == ('refused', Code.CALCULATOR_MISSING)


@needs_chgnet
@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_models_are_found(name):
    assert resolve_model(CHGNetSettings(model=name)).is_file()


@needs_chgnet
@pytest.mark.mlip
def test_a_run_continues_exactly(job_folder, same_frames):
    atoms = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    calculator = {'kind': 'chgnet', 'device': 'cpu'}
    settings = {'n_steps': 6, 'frame_interval': 1}
    uninterrupted = job_folder('uninterrupted').write(atoms, settings, calculator=calculator)
    parts = job_folder('parts').write(atoms, settings | {'n_steps': 3}, calculator=calculator)
    result = uninterrupted.run()
    assert (result.outcome, result.ensemble, result.precision) == ('completed', 'npt', 'float32')
    parts.run()
    parts.write(atoms, settings, calculator=calculator).run()
    same_frames(parts.frames(), uninterrupted.frames())
    # eV per formula unit, as published for the model.
    assert uninterrupted.frames().energies[0] / 4 == pytest.approx(-7.33, abs=0.05)
    assert np.isfinite(uninterrupted.frames().stresses).all()
