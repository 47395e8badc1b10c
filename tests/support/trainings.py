"""Inputs of training runs of SevenNet on a few silicon cells."""

from __future__ import annotations

import pytest
from aiida import orm
from support.environments import environment_of
from support.silicon import write_silicon

from aiida_mlip_autopipe.calculators import CALCULATORS, resolve_model
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION

CALCULATOR = {'kind': 'sevennet', 'device': 'cpu'}


@pytest.fixture
def training_inputs(emt_code, tmp_path):
    """Return the inputs of a training run of 7net-0 for two epochs on four silicon cells."""
    rows = write_silicon(tmp_path / 'si.db', (4, 2, 0))
    settings = CALCULATORS.load('sevennet').settings_class.model_validate(CALCULATOR)
    sha256 = file_sha256(resolve_model(settings))
    return {
        'code': emt_code,
        'calculator': orm.Dict({'kind': 'sevennet', 'cutoff_A': 5.0, 'modal': None, 'dtype': 'float32'}),
        'model': ModelData.from_shipped('7net-0', sha256, 'sevennet'),
        'environment': orm.Dict(environment_of(CALCULATOR, 'cpu').model_dump(mode='json')),
        'dataset': DatasetData.from_file(tmp_path / 'si.db'),
        'splits': orm.List([row.key_value_pairs['split'] for row in rows]),
        'training': orm.Dict({'kind': 'sevennet', 'n_epochs': 2}),
        'random_seed': orm.Int(3),
        'training_version': orm.Str(TRAINING_VERSION),
    }
