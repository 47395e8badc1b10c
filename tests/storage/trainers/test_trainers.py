import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import export_splits, make_row
from aiida_mlip_autopipe.storage.trainers.write import write_trainer_config
from aiida_mlip_autopipe.structures.row import isolated_atom_energies

# Energies of isolated atoms with EMT.
ISOLATED = {'Cu': 3.51, 'Au': 3.80}


@pytest.fixture
def rows(make_provenance):
    """Return rows of ten small, compressed crystals of copper and gold."""
    rows = []
    for place in range(10):
        atoms = bulk('Cu', cubic=True)
        atoms.numbers[: place % 2] = 79
        atoms.set_cell(0.96 * atoms.cell, scale_atoms=True)
        atoms.rattle(0.1, seed=place)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
        atoms.calc = SinglePointCalculator(atoms, **results)
        row = make_row(atoms, make_provenance(step=place), {'parent': f'a{place}'})
        symbols = set(atoms.get_chemical_symbols())
        rows.append(replace(row, data=row.data | {'isolated_atoms': {symbol: ISOLATED[symbol] for symbol in symbols}}))
    return rows


@pytest.fixture
def write(tmp_path):
    def write(rows, trainer, splits=(*['train'] * 8, 'valid', 'test')):
        files = export_splits(tmp_path / 'cu.extxyz', rows, splits)
        path = tmp_path / f'cu-{trainer}.yaml'
        write_trainer_config(path, trainer, files, rows, splits, random_seed=3)
        return path

    return write


def change(path, **values):
    """Change values in a config, to make the training as short as possible."""
    config = yaml.safe_load(path.read_text())
    for section in [config, *(part for part in config.values() if isinstance(part, dict))]:
        section.update({key: value for key, value in values.items() if key in section})
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def test_the_config_of_mace_contains_the_sets_and_the_energies_of_isolated_atoms(rows, write):
    path = write(rows, 'mace')
    config = yaml.safe_load(path.read_text())
    assert path.read_text().startswith('# mace_run_train --config cu-mace.yaml\n')
    assert [config[f'{name}_file'] for name in ('train', 'valid', 'test')] == [
        f'cu-{name}.extxyz' for name in ('train', 'valid', 'test')
    ]
    assert 'valid_fraction' not in config
    assert config['E0s'] == '{29: 3.51, 79: 3.8}'


def test_the_config_of_mace_contains_elements_that_only_the_test_set_contains(rows, write):
    splits = ['test' if 'Au' in row.atoms.symbols else 'train' for row in rows]
    config = yaml.safe_load(write(rows, 'mace', splits).read_text())
    assert (config['E0s'], config['atomic_numbers']) == ('{29: 3.51, 79: 3.8}', '[29, 79]')


def test_the_config_of_mace_needs_no_isolated_atoms_stress_or_validation_set(rows, write):
    for row in rows:
        row.data.clear()
        del row.atoms.calc.results['stress']
    config = yaml.safe_load(write(rows, 'mace', ['train'] * 10).read_text())
    assert config['E0s'] == 'average'
    assert config['valid_fraction'] == 0.1
    assert (config['loss'], 'compute_stress' in config) == ('weighted', False)


def test_a_batch_is_never_larger_than_the_training_set(rows, write):
    splits = ['train', 'valid', *['test'] * 8]
    assert yaml.safe_load(write(rows, 'sevennet', splits).read_text())['data']['batch_size'] == 1


def test_energies_of_isolated_atoms_are_known_only_if_those_of_every_element_are(rows):
    assert isolated_atom_energies(rows) == ISOLATED
    del rows[1].data['isolated_atoms']['Au']
    assert isolated_atom_energies(rows[:2]) is None


def test_different_energies_of_the_same_isolated_atom_are_refused(rows):
    rows[1].data['isolated_atoms']['Cu'] += 0.1
    with refused(Code.LEVELS_MIXED, '3.51', '3.61 eV', 'Cu'):
        isolated_atom_energies(rows)


def test_an_unknown_trainer_and_an_empty_training_set_are_refused(rows, tmp_path):
    with refused(Code.CHOICE_UNKNOWN, 'nequip', 'mace, sevennet'):
        write_trainer_config(tmp_path / 'a.yaml', 'nequip', {'train': Path('a.extxyz')}, rows, [], random_seed=0)
    splits = ['test'] * len(rows)
    with refused(Code.SPLIT_EMPTY, 'training'):
        write_trainer_config(tmp_path / 'a.yaml', 'mace', {'test': Path('a.extxyz')}, rows, splits, random_seed=0)


# Gold is only in the test set, so the config must list it.
GOLD_ONLY_IN_TEST = ['train', 'test'] * 4 + ['valid', 'test']


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.mlip
@pytest.mark.skipif(
    'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ, reason='MACE is not installed in a separate environment'
)
def test_mace_trains_with_the_config(rows, write):
    path = write(rows, 'mace', GOLD_ONLY_IN_TEST)
    change(path, max_num_epochs=1, num_channels=4, max_L=0)
    program = Path(os.environ['MLIP_AUTOPIPE_MACE_PYTHON']).with_name('mace_run_train')
    log = run([program, '--config', path.name], path.parent)
    assert 'Total Training set [energy: 4, stress: 4' in log
    assert 'for head Default: {29: 3.51, 79: 3.8}' in log
    assert 'Error-table on TEST' in log
    assert list(path.parent.glob('cu-mace/*.model'))


@pytest.mark.mlip
def test_sevennet_trains_with_the_config(rows, write):
    path = write(rows, 'sevennet', GOLD_ONLY_IN_TEST)
    change(path, epoch=1, channel=4, num_convolution_layer=1, lmax=1)
    run([Path(sys.executable).with_name('sevenn'), 'train', path.name], path.parent)
    assert (path.parent / 'checkpoint_best.pth').is_file()
    head, values = [line.split(',') for line in (path.parent / 'lc.csv').read_text().splitlines()[:2]]
    errors = dict(zip(head, values, strict=True))
    assert all(np.isfinite(float(value)) for value in errors.values())
    assert {'trainset_Stress_RMSE', 'validset_Stress_RMSE'} <= {name.strip() for name in errors}
