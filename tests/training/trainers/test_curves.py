"""The learning curves that the trainers write."""

import json
import math

import pytest
from ase.units import GPa

from aiida_mlip_autopipe.training import mace_files
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


def test_mace_counts_epochs_from_zero_and_reports_the_loss_of_each_batch():
    entries = [
        {'mode': 'eval', 'epoch': None, 'loss': 9.0},
        {'mode': 'opt', 'epoch': 0, 'loss': 2.0},
        {'mode': 'opt', 'epoch': 0, 'loss': 4.0},
        {
            'mode': 'eval',
            'epoch': 0,
            'loss': 1.5,
            'rmse_e_per_atom': 0.01,
            'rmse_f': 0.2,
            'rmse_stress': 0.5 * GPa,
        },
    ]
    text = ''.join(json.dumps(entry) + '\n' for entry in entries) + '{"mode": "eval", "epo'
    (epoch,) = mace_files.read_curve(text)
    assert (epoch.epoch, epoch.train_loss, epoch.valid_loss) == (1, 3.0, 1.5)
    assert (epoch.valid_energy_rmse_eV_atom, epoch.valid_force_rmse_eV_A) == (0.01, 0.2)
    assert epoch.valid_stress_rmse_GPa == pytest.approx(0.5)
