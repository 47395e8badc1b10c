from dataclasses import replace

import pytest
import yaml
from ase.io import read
from support.alloy_rows import ISOLATED, alloy_rows, relabel
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.structures.rows.row import isolated_atom_energies
from aiida_mlip_autopipe.training.base import FineTuning
from aiida_mlip_autopipe.training.write import check_request, write_trainer_config


@pytest.fixture
def rows():
    return alloy_rows(10)


def test_the_config_of_mace_contains_the_sets_and_the_energies_of_isolated_atoms(rows, write, tmp_path):
    config, notes = write(rows)
    assert (tmp_path / 'cu-mace.yaml').read_text().startswith('# mace_run_train --config cu-mace.yaml\n')
    assert [config[f'{name}_file'] for name in ('train', 'valid', 'test')] == [
        f'cu-{name}.extxyz' for name in ('train', 'valid', 'test')
    ]
    assert (config['E0s'], notes) == ('{29: 3.51, 79: 3.8}', ())


def test_the_config_of_mace_contains_elements_that_only_the_test_set_contains(rows, write):
    splits = ['train' if 'Cu' not in row.atoms.symbols else 'test' for row in rows]
    assert set(splits) == {'train', 'test'}
    config, _ = write(rows, splits=splits)
    assert (config['E0s'], config['atomic_numbers']) == ('{29: 3.51, 79: 3.8}', '[29, 79]')


def test_no_trainer_draws_validation_frames_at_random(rows, write):
    mace, _ = write(rows, splits=['train'] * 10)
    assert (mace['valid_file'], 'valid_fraction' in mace) == ('cu-train.extxyz', False)


def test_sevennet_needs_no_validation_set(rows, write):
    config, _ = write(rows, 'sevennet', ['train'] * 10)
    assert {key for key in config['data'] if 'set_path' in key} == {'load_trainset_path'}
    assert 'data_divide_ratio' not in config['data']


@pytest.mark.parametrize(('n_rows', 'batch_size'), [(8, 2), (48, 4), (480, 4), (800, 8), (6000, 16)])
def test_the_number_of_steps_hardly_depends_on_the_number_of_rows(rows, tmp_path, n_rows, batch_size):
    # The frames do not matter here, only their number.
    many, splits = (rows * (n_rows // len(rows) + 1))[:n_rows], ['train'] * n_rows
    files = {'train': tmp_path / 'cu-train.extxyz'}
    for trainer in ('mace', 'sevennet'):
        write_trainer_config(tmp_path / f'{trainer}.yaml', trainer, files, many, splits, random_seed=0)
    mace, sevennet = (yaml.safe_load((tmp_path / f'{name}.yaml').read_text()) for name in ('mace', 'sevennet'))
    assert mace['batch_size'] == sevennet['data']['batch_size'] == batch_size
    expected = max(1000 * max(1, n_rows / 50) ** 0.25, 20 * n_rows / batch_size)
    per_epoch = n_rows // batch_size
    for n_epochs, steps in ((mace['max_num_epochs'], expected), (sevennet['train']['epoch'], 3 * expected)):
        assert steps <= n_epochs * per_epoch <= 1.1 * steps + 2 * per_epoch
    # MACE keeps only checkpoints of epochs that it validates, so the last one must be among them.
    assert (mace['max_num_epochs'] - 1) % mace['eval_interval'] == 0
    assert 0 < mace['start_swa'] < mace['max_num_epochs'] - mace['eval_interval']
    # The learning rates decay by the same factor for any number of epochs.
    assert mace['lr_scheduler_gamma'] ** mace['start_swa'] == pytest.approx(0.1, rel=0.01)
    train = sevennet['train']
    assert train['scheduler_param']['gamma'] ** train['epoch'] == pytest.approx(0.01, rel=0.01)


def test_unknown_isolated_atoms_of_dft_are_reported_with_the_command_that_computes_them(rows, write):
    rows = relabel(rows, isolated_atoms=False)
    for row in rows:
        row.data['isolated_atoms'] = {'Cu': 0.5}
    config, (note,) = write(rows)
    assert config['E0s'] == 'average'
    for part in ('Au', 'dft-inputs', '--isolated-atoms only', 'label-from'):
        assert part in note
    assert 'Cu' not in note.split('are unknown')[0]


def test_isolated_atoms_of_dft_are_never_replaced_by_averages_or_estimates(rows, write, tmp_path):
    labelled = relabel(rows, {'Cu': -3.0, 'Au': -4.0})
    (tmp_path / 'base.model').touch()
    for fine_tuning in (None, FineTuning(str(tmp_path / 'base.model'))):
        config, notes = write(labelled, fine_tuning=fine_tuning)
        assert (config['E0s'], notes) == (str({29: 3.51 - 3.0, 79: 3.80 - 4.0}), ())


def test_the_isolated_atoms_of_a_potential_do_not_fit_another_model_that_is_fine_tuned(rows, write, tmp_path):
    (tmp_path / 'base.model').touch()
    config, _ = write(rows, fine_tuning=FineTuning(str(tmp_path / 'base.model')))
    assert config['E0s'] == 'estimated'


def test_naive_and_replay_fine_tuning_of_mace(rows, write, tmp_path):
    for name in ('base.model', 'pool.extxyz'):
        (tmp_path / name).touch()
    base, pool = str(tmp_path / 'base.model'), str(tmp_path / 'pool.extxyz')
    naive, _ = write(rows, fine_tuning=FineTuning(base))
    expected = {'foundation_model': 'base.model', 'multiheads_finetuning': False, 'lr': 0.001, 'ema_decay': 0.999}
    expected |= {'clip_grad': 1.0, 'weight_decay': 0.0, 'energy_weight': 10, 'forces_weight': 10}
    assert naive | expected == naive
    assert 'swa' not in naive
    replay, _ = write(rows, fine_tuning=FineTuning(base, pool))
    expected = {'multiheads_finetuning': True, 'pt_train_file': 'pool.extxyz', 'pt_valid_file': 'pool.extxyz'}
    assert replay | expected | {'lr': 0.0001, 'force_mh_ft_lr': True} == replay
    named, _ = write(rows, fine_tuning=FineTuning('medium-mpa-0', 'omat'))
    assert (named['foundation_model'], named['pt_train_file'], 'pt_valid_file' in named) == (
        'medium-mpa-0',
        'omat',
        False,
    )


def test_weights_are_written_where_each_trainer_reads_them(rows, write, tmp_path):
    rows = [
        replace(row, key_value_pairs=row.key_value_pairs | {'label': 'hot' if place % 2 else 'cold'})
        for place, row in enumerate(rows)
    ]
    mace, _ = write(rows, weights={'hot': 2.5})
    assert mace['config_type_weights'] == "{'cold': 1.0, 'hot': 2.5}"
    frames = read(tmp_path / 'cu-train.extxyz', ':')
    assert [frame.info['config_type'] for frame in frames] == ['cold', 'hot'] * 4
    sevennet, _ = write(rows, 'sevennet', weights={'hot': 2.5})
    assert sevennet['train']['use_weight'] is True
    parts = {
        part['data_weight']['energy']: read(tmp_path / part['file_list'][0]['file'], ':')
        for part in sevennet['data']['load_trainset_path']
    }
    assert {weight: {frame.info['label'] for frame in part} for weight, part in parts.items()} == {
        1.0: {'cold'},
        2.5: {'hot'},
    }
    assert sum(map(len, parts.values())) == 8


def test_rows_of_two_levels_in_different_sets_are_refused(rows, write, tmp_path):
    mixed = [*rows[:8], *relabel(rows[8:])]
    with refused(Code.LEVELS_MIXED, 'method', 'mlip', 'dft'):
        write(mixed)
    assert not (tmp_path / 'cu-mace.yaml').exists()


def test_impossible_requests_are_refused(rows, write, tmp_path):
    (tmp_path / 'base.model').touch()
    base = str(tmp_path / 'base.model')
    for code, values, trainers, tuning in (
        (Code.CHOICE_UNKNOWN, ('nequip', 'mace, sevennet'), ['nequip'], None),
        (Code.VALUES_INCOMPLETE, (base, '--trainer', 'none'), [], FineTuning(base)),
        (Code.VALUES_EXCLUDE, (base, 'mace and sevennet'), ['mace', 'sevennet'], FineTuning(base)),
        (Code.VALUES_EXCLUDE, ('pool.xyz', 'sevennet'), ['sevennet'], FineTuning('7net-0', 'pool.xyz')),
    ):
        with refused(code, *values):
            check_request(trainers, tuning)
    for code, values, options in (
        (Code.FILE_MISSING, ('absent.model',), {'fine_tuning': FineTuning('absent.model')}),
        (Code.CHOICE_UNKNOWN, ('mp-9', 'medium-mpa-0'), {'fine_tuning': FineTuning('mp-9')}),
        (Code.CHOICE_UNKNOWN, ('--replay', 'mp9'), {'fine_tuning': FineTuning(base, 'mp9')}),
        (Code.CHOICE_UNKNOWN, ('surface', 'alloy'), {'weights': {'surface': 2.0}}),
        (Code.SPLIT_EMPTY, ('training',), {'splits': ['test'] * 10}),
    ):
        with refused(code, *values):
            write(rows, **options)


def test_energies_of_isolated_atoms_are_known_only_if_those_of_every_element_are(rows):
    assert isolated_atom_energies(rows) == ISOLATED
    for row in rows:
        row.data['isolated_atoms'].pop('Au', None)
    assert isolated_atom_energies(rows) is None


def test_different_energies_of_the_same_isolated_atom_are_refused(rows):
    rows[-1].data['isolated_atoms']['Au'] += 0.1
    with refused(Code.LEVELS_MIXED, '3.8', '3.9 eV', 'Au'):
        isolated_atom_energies(rows)


def test_weights_that_leave_nothing_to_train_on_are_refused(rows, write):
    with refused(Code.VALUE_INVALID, 'weight', 'alloy'):
        write(rows, weights={'alloy': 0.0})
