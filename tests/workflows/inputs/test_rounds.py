"""The inputs of a campaign with rounds that depend on more than one section."""

from pathlib import Path

import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.training.trainer import TRAINERS
from aiida_mlip_autopipe.workflows.inputs.rounds import check_model, round_settings

CONFIG = {
    'name': 'rounds',
    'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}, 'n_seeds': 40}],
    'labelling': {'kind': 'calculator', 'calculator': {'kind': 'emt'}},
}


@pytest.mark.parametrize(
    ('recipe', 'bound', 'used'),
    [('naive', None, None), ('replay', None, 0.02), ('naive', 0.3, 0.3), ('replay', 0.3, 0.3)],
)
def test_only_replay_implies_a_bound_on_the_drift(recipe, bound, used):
    config = validate_config(
        CONFIG
        | {
            'training': {'kind': 'sevennet', 'recipe': recipe},
            'rounds': {'target_force_error_eV_A': 0.1, 'max_drift_eV_A': bound},
        },
        Path(),
    )
    assert round_settings(config)['max_drift_eV_A'] == used


@pytest.mark.mlip
def test_a_model_that_the_trainer_cannot_continue_is_refused(tmp_path):
    damaged = tmp_path / 'damaged.pth'
    damaged.write_text('no checkpoint')
    several_levels = str(CALCULATORS.make(CALCULATORS.load('sevennet').settings_class(model='7net-mf-0')).model_file())
    for model, code in ((str(damaged), Code.FILE_UNREADABLE), (several_levels, Code.VALUE_INVALID)):
        with refused(code, 'training.model', model):
            check_model(TRAINERS.load('sevennet').settings_class(model=model))
    check_model(TRAINERS.load('sevennet').settings_class(model='7net-0'))
