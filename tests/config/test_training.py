import pytest
from support.errors import refused

from aiida_mlip_autopipe.config.training import load_training
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.training.trainers.mace import MACETrainingSettings
from aiida_mlip_autopipe.training.trainers.sevennet import SevenNetTrainingSettings


def codes_of(error):
    return {fault.path: fault.code for fault in error.value.faults}


def test_options_suffice_and_the_defaults_are_those_of_the_recipe():
    training = load_training(None, {'kind': 'sevennet'}).training
    assert isinstance(training, SevenNetTrainingSettings)
    assert (training.model, training.recipe, training.sets) == ('7net-0', 'naive', None)
    assert training.recipe_settings(31) == {
        'kind': 'sevennet',
        'recipe': 'naive',
        'n_epochs': 40,
        'batch_size': None,
        'learning_rate': 0.001,
        'learning_rate_factor': None,
        'huber_delta': 0.01,
        'force_weight': 1.0,
        'stress_weight': 0.01,
    }


@pytest.mark.parametrize(
    ('kind', 'recipe', 'learning_rate', 'n_epochs'),
    [
        ('sevennet', 'replay', 0.001, 40),
        ('mace', 'naive', 0.001, 40),
        ('mace', 'replay', 0.0001, 40),
        # 1000 steps for 50 rows in batches of 4; SevenNet takes three times as many.
        ('mace', 'scratch', 0.01, 84),
        ('sevennet', 'scratch', 0.005, 250),
    ],
)
def test_the_recipe_determines_the_learning_rate_and_the_number_of_epochs(kind, recipe, learning_rate, n_epochs):
    model = {} if recipe == 'scratch' else {'model': 'initial'}
    content = load_training(None, {'kind': kind, 'recipe': recipe, **model}).training.recipe_settings(50)
    assert (content['learning_rate'], content['n_epochs']) == (learning_rate, n_epochs)
    assert ('cutoff_A' in content) == (recipe == 'scratch')
    assert 'n_replay' not in content
    # A job accepts them, and finds nothing to complete.
    settings_class = {'mace': MACETrainingSettings, 'sevennet': SevenNetTrainingSettings}[kind]
    assert settings_class.of_job(content).recipe_settings(50) == content


@pytest.mark.parametrize(
    ('options', 'path', 'code'),
    [
        ({'kind': 'sevennet', 'recipe': 'scratch', 'model': '7net-0'}, 'training.model', Code.VALUES_EXCLUDE),
        ({'kind': 'mace', 'recipe': 'replay'}, 'training.model', Code.VALUE_MISSING),
        ({'kind': 'sevennet', 'n_replay': 4}, 'training', Code.VALUES_EXCLUDE),
        ({'kind': 'sevennet', 'recipe': 'replay', 'max_l': 2}, 'training', Code.VALUES_EXCLUDE),
        ({'kind': 'sevennet', 'recipe': 'replay', 'replay_file': 'no.xyz'}, 'training.replay_file', Code.FILE_MISSING),
        ({'kind': 'sevennet', 'recipe': 'distil'}, 'training.recipe', Code.CHOICE_UNKNOWN),
    ],
)
def test_settings_without_effect_are_refused(options, path, code):
    with pytest.raises(ConfigError) as error:
        load_training(None, options)
    assert codes_of(error) == {path: code}


def test_options_replace_the_file_and_overrides_replace_both(tmp_path):
    file, model = tmp_path / 'training.yaml', tmp_path / 'base.model'
    model.touch()
    file.write_text('training: {kind: mace, model: base.model, n_epochs: 5}\nexecution: {cpus_per_job: 2}\n')
    config = load_training(file, {}, ['training.n_epochs=7'])
    assert isinstance(config.training, MACETrainingSettings)
    assert (config.training.n_epochs, config.training.model, config.execution.cpus_per_job) == (7, str(model), 2)
    calculator = config.training.calculator()
    assert (calculator.kind, calculator.model) == ('mace', str(model))


def test_all_faults_are_reported_together(tmp_path):
    file = tmp_path / 'training.yaml'
    file.write_text('training: {kind: sevennet, n_epochs: 0, learning_rate: -1, loss: mse}\n')
    with pytest.raises(ConfigError) as error:
        load_training(file)
    assert codes_of(error) == {
        'training.n_epochs': Code.OUT_OF_RANGE,
        'training.learning_rate': Code.OUT_OF_RANGE,
        'training.loss': Code.KEY_UNKNOWN,
    }


def test_a_kind_is_required_and_the_config_of_a_campaign_is_refused(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_training(None)
    assert set(codes_of(error).values()) == {Code.KIND_MISSING}
    with pytest.raises(ConfigError) as error:
        load_training(None, {'kind': 'nequip'})
    assert set(codes_of(error).values()) == {Code.KIND_UNKNOWN}
    file = tmp_path / 'word.yaml'
    file.write_text('training: sevennet\n')
    with pytest.raises(ConfigError) as error:
        load_training(file, {'model': '7net-0'})
    assert list(codes_of(error)) == ['training']
    file = tmp_path / 'campaign.yaml'
    file.write_text('generation: []\n')
    with refused(Code.KEY_UNKNOWN, 'campaign'):
        load_training(file)
