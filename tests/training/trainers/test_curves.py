"""The learning curves that the trainers write."""

import json
import math
import zipfile

import pytest
from ase.units import GPa

from aiida_mlip_autopipe.training.base import TrainingData
from aiida_mlip_autopipe.training.formats import mace as mace_files
from aiida_mlip_autopipe.training.trainer import Leg
from aiida_mlip_autopipe.training.trainers import sevennet

CSV = """epoch,lr,trainset_Energy_RMSE,trainset_Force_RMSE,trainset_TotalLoss,validset_Energy_RMSE,validset_Force_RMSE,\
validset_Stress_RMSE,validset_TotalLoss
1,0.001,0.04,0.5,0.003,0.02,0.3,6.0,0.002
2,0.00095,0.03,0.4,0.002,nan,0.2,3.0,nan
3,0.0009,0.0"""


def test_sevennet_reports_the_lengths_of_differences_which_become_those_of_components():
    first, second = sevennet.read_curve(CSV)
    assert (first.epoch, first.learning_rate, first.train_loss, first.valid_loss) == (1, 0.001, 0.003, 0.002)
    assert first.valid_energy_rmse_eV_atom == 0.02
    assert first.valid_force_rmse_eV_A == pytest.approx(0.3 / math.sqrt(3))
    assert first.valid_stress_rmse_GPa == pytest.approx(6 / math.sqrt(6))
    assert first.train_stress_rmse_GPa is None
    # A loss that is not finite is unknown, and the incomplete last line is not read.
    assert (second.epoch, second.valid_loss, second.valid_energy_rmse_eV_atom) == (2, None, None)


def entry(mode, epoch, loss, **fields):
    return json.dumps({'mode': mode, 'epoch': epoch, 'loss': loss, **fields}) + '\n'


@pytest.fixture
def mace_leg(tmp_path):
    """Return the work folder of a training run of MACE, the log of its leg, and a function that writes a checkpoint."""
    log = tmp_path / 'leg_1' / 'results' / 'training_run-3_train.txt'
    checkpoints = tmp_path / 'leg_1' / 'checkpoints'
    for folder in (log.parent, checkpoints):
        folder.mkdir(parents=True)

    def save(epoch):
        with zipfile.ZipFile(checkpoints / f'training_run-3_epoch-{epoch}.pt', 'w') as archive:
            archive.writestr('weights', str(epoch))

    return tmp_path, log, save


def test_mace_counts_epochs_from_zero_and_reports_the_loss_of_each_batch(mace_leg):
    folder, log, save = mace_leg
    errors = {'rmse_e_per_atom': 0.01, 'rmse_f': 0.2, 'rmse_stress': 0.5 * GPa}
    lines = [entry('eval', None, 9.0), entry('opt', 0, 2.0), entry('opt', 0, 4.0), entry('eval', 0, 1.5, **errors)]
    log.write_text(''.join(lines) + '{"mode": "eval", "epo')
    save(0)
    (epoch,) = mace_files.ResultsLog(log).collect(folder)
    assert (epoch.epoch, epoch.train_loss, epoch.valid_loss) == (1, 3.0, 1.5)
    assert (epoch.valid_energy_rmse_eV_atom, epoch.valid_force_rmse_eV_A) == (0.01, 0.2)
    assert epoch.valid_stress_rmse_GPa == pytest.approx(0.5)
    assert (folder / 'epoch_1.pt').is_file()


def test_only_what_is_added_to_the_log_of_mace_is_read(mace_leg):
    folder, path, save = mace_leg
    first, second = entry('opt', 0, 2.0) + entry('eval', 0, 1.5), entry('opt', 1, 1.0) + entry('eval', 1, 0.5)
    path.write_text(first)
    log = mace_files.ResultsLog(path)
    assert log.collect(folder) == []
    # The epoch is reported once its checkpoint is complete. What was read before is not read again.
    path.write_text('?' * len(first) + second[:30])
    save(0)
    assert [epoch.epoch for epoch in log.collect(folder)] == [1]
    path.write_text('?' * len(first) + second)
    save(1)
    assert [(epoch.epoch, epoch.train_loss, epoch.valid_loss) for epoch in log.collect(folder)] == [(2, 1.0, 0.5)]
    assert log.collect(folder) == []


def test_mace_continues_with_the_epoch_after_the_last_one(tmp_path):
    (tmp_path / 'epoch_3.pt').write_text('weights')
    data = TrainingData('training', tmp_path, {}, 8, 2, True, (29,), None, (), False, (), {}, random_seed=5)
    mace_files.write_leg(Leg(tmp_path, 2, 3, data, 'cpu'), {})
    # MACE counts from 0, and starts with the epoch in the name of the checkpoint: its epoch 3 is the fourth one.
    (checkpoint,) = tmp_path.glob('leg_2/checkpoints/*')
    assert checkpoint.name == 'training_run-5_epoch-3.pt'
