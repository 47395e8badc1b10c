"""SevenNet trains and fine-tunes with the configs, in this process, since importing it takes 10 s."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from support.alloy_rows import alloy_rows
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.training.base import FineTuning

pytestmark = pytest.mark.mlip
SPLITS = (*['train'] * 4, 'valid', 'test')


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that trains with a config, and returns the errors of each epoch by their names."""

    def train(name):
        from sevenn.main.sevenn import main

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', ['sevenn', 'train', name, '--working_dir', str(tmp_path)])
        main()
        lines = csv.DictReader(Path('lc.csv').read_text().splitlines())
        epochs = [{key.strip(): float(value) for key, value in line.items()} for line in lines]
        assert all(np.isfinite(list(epoch.values())).all() for epoch in epochs)
        return epochs

    return train


def test_sevennet_trains_and_fine_tunes_with_the_configs(write, change, train, tmp_path):
    rows = alloy_rows(6)
    write(rows, 'sevennet', SPLITS)
    change('cu-sevennet.yaml', epoch=2, channel=4, num_convolution_layer=1, lmax=1)
    errors = train('cu-sevennet.yaml')[-1]
    # EMT's energies of the elements are fitted, so the first errors are small.
    assert errors['trainset_Energy_RMSE'] < 0.5
    assert 'validset_Stress_RMSE' in errors
    # The checkpoint of the first training, with its own architecture, and then a shipped one.
    for model in ('checkpoint_best.pth', '7net-0'):
        _, (note,) = write(rows, 'sevennet', SPLITS, name='tuned', fine_tuning=FineTuning(model))
        assert 'Au' in note
        change('tuned-sevennet.yaml', epoch=1)
        errors = train('tuned-sevennet.yaml')[-1]
        # The labels are from another level: without the shift, 7net-0 would be wrong by 3 eV per atom.
        assert errors['trainset_Energy_RMSE'] < 0.2
        assert (tmp_path / 'tuned-sevennet-start.pth').is_file()


def test_checkpoints_that_cannot_be_fine_tuned_are_refused(write, tmp_path):
    rows = alloy_rows(6)
    (tmp_path / 'text.pth').write_text('no checkpoint')
    for code, values, model in (
        (Code.FILE_UNREADABLE, ('text.pth',), str(tmp_path / 'text.pth')),
        (Code.CHOICE_UNKNOWN, ('7net-9', '7net-0'), '7net-9'),
        (Code.FILE_MISSING, ('absent.pth',), 'absent.pth'),
    ):
        with refused(code, *values):
            write(rows, 'sevennet', SPLITS, fine_tuning=FineTuning(model))
    rows[0].atoms.numbers[0] = 84
    rows[0].atoms.calc.atoms.numbers[0] = 84
    with refused(Code.VALUE_INVALID, 'Po'):
        write(rows, 'sevennet', SPLITS, fine_tuning=FineTuning('7net-0'))
