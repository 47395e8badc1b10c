"""Custom calculators, which cannot change the random numbers of a job."""

# ruff: noqa: NPY002 (the tests are about the global generator)

from __future__ import annotations

import random

import numpy as np
import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import CALCULATORS


def custom(calculator: str, **parameters):
    return {'kind': 'custom', 'calculator': calculator, 'cutoff_A': 5.0, 'parameters': parameters}


def test_any_ase_calculator_can_explore(job_folder, copper):
    settings = custom('ase.calculators.morse:MorsePotential', rcut1=2.0, rcut2=3.0)
    result = job_folder().write(copper, {'n_steps': 4, 'ensemble': 'nvt'}, calculator=settings).run()
    assert (result.outcome, result.n_frames) == ('completed', 2)


@pytest.mark.parametrize(
    ('calculator', 'code', 'values'),
    [
        ('no_such_package:Thing', Code.CALCULATOR_MISSING, ["'no_such_package'"]),
        ('ase.calculators.emt:Thing', Code.CALCULATOR_MISSING, ["'ase.calculators.emt'", "'Thing'"]),
        ('ase.no_such_module:Thing', Code.CALCULATOR_MISSING, ["'ase.no_such_module'"]),
        ('ase:Atoms', Code.SETTINGS_REFUSED, ['ase:Atoms']),
        ('nonsense', Code.SETTINGS_REFUSED, ['calculator.calculator', 'nonsense']),
    ],
)
def test_an_invalid_calculator_class_is_refused(job_folder, copper, calculator, code, values):
    result = job_folder().write(copper, calculator=custom(calculator)).run()
    assert (result.outcome, result.code) == ('refused', code)
    assert [value for value in values if value not in result.message] == []


class ReseedingLoader(EMTLoader):
    """Loads EMT, and seeds the global random generators as some models do."""

    def load(self) -> Loaded:
        np.random.seed(0)
        random.seed(0)
        return super().load()


def test_a_calculator_that_reseeds_numpy_does_not_change_the_frames(job_folder, copper, monkeypatch, same_frames):
    settings = {'n_steps': 6, 'ensemble': 'nvt'}
    calm = job_folder('calm').write(copper, settings)
    calm.run()
    monkeypatch.setattr(CALCULATORS, 'load', lambda kind: ReseedingLoader)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    reseeded = job_folder('reseeded').write(copper, settings)
    reseeded.run()
    same_frames(calm.frames(), reseeded.frames())
    assert np.array_equal(np.random.get_state()[1], before)
    other = job_folder('other').write(copper, settings, random_seed=8)
    other.run()
    assert not np.array_equal(other.frames().positions, calm.frames().positions)


def test_only_a_calculator_class_is_called(tmp_path):
    path = tmp_path / 'touched'
    settings = custom('os:system', command=f'touch {path}')
    loader = CALCULATORS.load('custom')(CALCULATORS.load('custom').settings_class.model_validate(settings))
    with refused(Code.SETTINGS_REFUSED, 'os:system'):
        loader.load()
    assert not path.exists()
