"""Which combinations of rounds, training and other sections are refused, with the place and the code of the fault."""

from pathlib import Path

import pytest

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError

CONFIG = {
    'name': 'rounds',
    'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 0.75, 'Au': 0.25}, 'n_seeds': 40}],
    'sampling': {'n_structures': 20},
    'labelling': {'kind': 'calculator', 'calculator': {'kind': 'emt'}},
    'training': {'kind': 'sevennet'},
    'rounds': {'target_force_error_eV_A': 0.1},
}


def faults_with(**sections) -> set[tuple[str, Code]]:
    with pytest.raises(ConfigError) as error:
        validate_config(CONFIG | sections, Path())
    return {(fault.path, fault.code) for fault in error.value.faults}


def test_the_model_to_train_is_that_of_the_calculator():
    config = validate_config(CONFIG | {'calculator': {'model': '7net-l3i5'}}, Path())
    assert config.training.model == '7net-l3i5'
    assert validate_config(CONFIG, Path()).training.model == '7net-0'


def test_the_dump_of_a_config_without_rounds_contains_neither_section():
    plain = {name: value for name, value in CONFIG.items() if name not in ('training', 'rounds')}
    assert not {'training', 'rounds'} & validate_config(plain, Path()).model_dump(mode='json').keys()


@pytest.mark.parametrize(
    ('sections', 'path', 'code'),
    [
        ({'labelling': None}, 'rounds', Code.VALUES_INCOMPLETE),
        ({'training': None}, 'rounds', Code.VALUES_INCOMPLETE),
        ({'rounds': None}, 'training', Code.VALUES_INCOMPLETE),
        ({'rounds': {'target_force_error_eV_A': 0.1, 'label_budget': 39}}, 'rounds.label_budget', Code.OUT_OF_RANGE),
        ({'training': {'kind': 'sevennet', 'model': '7net-l3i5'}}, 'training.model', Code.VALUE_INVALID),
        ({'calculator': {'model': '7net-mf-0', 'modal': 'PBE'}}, 'training.model', Code.CHOICE_UNKNOWN),
        ({'calculator': {'kind': 'lj'}}, 'calculator.kind', Code.VALUE_INVALID),
        ({'training': {'kind': 'sevennet', 'random_seed': 3}}, 'training.random_seed', Code.VALUES_EXCLUDE),
        ({'sampling': {'test_fraction': 0.1}}, 'sampling.test_fraction', Code.VALUES_EXCLUDE),
        (
            {'labelling': {'kind': 'gpaw'}, 'rounds': {'target_force_error_eV_A': 0.009}},
            'rounds.target_force_error_eV_A',
            Code.OUT_OF_RANGE,
        ),
    ],
)
def test_settings_that_contradict_rounds_are_refused(sections, path, code):
    assert (path, code) in faults_with(**sections)


def test_a_small_target_is_accepted_if_labels_are_exact_or_their_errors_are_small_enough():
    validate_config(CONFIG | {'rounds': {'target_force_error_eV_A': 0.001}}, Path())
    validate_config(CONFIG | {'labelling': {'kind': 'gpaw'}, 'rounds': {'target_force_error_eV_A': 0.01}}, Path())


def test_an_exponent_of_the_disagreement_requires_rounds():
    environment = {'kind': 'environment', 'uncertainty_exponent': 2.0}
    nested = {'kind': 'stratified', 'n_structures': 20, 'within': environment}
    plain = {'training': None, 'rounds': None}
    assert ('sampling.uncertainty_exponent', Code.VALUES_INCOMPLETE) in faults_with(
        **plain, sampling=environment | {'n_structures': 20}
    )
    assert ('sampling.within.uncertainty_exponent', Code.VALUES_INCOMPLETE) in faults_with(**plain, sampling=nested)
    validate_config(CONFIG | {'sampling': nested}, Path())
    validate_config(CONFIG | plain | {'sampling': {'n_structures': 20, 'uncertainty_exponent': 1.0}}, Path())


def test_a_budget_for_one_round_is_accepted():
    validate_config(CONFIG | {'rounds': {'target_force_error_eV_A': 0.1, 'label_budget': 40}}, Path())
