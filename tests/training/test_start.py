"""The start of a training run with the weights that SevenNet ships."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from support.errors import refused
from support.silicon import write_silicon
from support.trainer_loaders import read_with_sevennet

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.loading import load_model, make_loader
from aiida_mlip_autopipe.training.contract import REPLAY_FILE
from aiida_mlip_autopipe.training.errors import evaluate_frames, read_frames
from aiida_mlip_autopipe.training.sets import write_sets
from aiida_mlip_autopipe.training.start import MAX_FORCE_OF_REPLAY, start_from_model
from aiida_mlip_autopipe.training.trainers.sevennet import SevenNetTrainer, SevenNetTrainingSettings

pytestmark = pytest.mark.mlip


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a training run with structures for replay, and the calculator of 7net-0."""
    rows = write_silicon(tmp_path / 'si.db', (3, 1, 0))
    names = write_sets(tmp_path / 'set.extxyz', rows, [row.key_value_pairs['split'] for row in rows], 0)
    sets = {split: read_frames(tmp_path / name) for split, name in names.items()}
    loader = make_loader({'kind': 'sevennet', 'model': '7net-0', 'device': 'cpu'})
    calculator = load_model(loader).calculator
    trainer = SevenNetTrainer(SevenNetTrainingSettings(recipe='replay').complete(3))
    return lambda replay: start_from_model(trainer, loader, calculator, sets, replay, tmp_path), calculator


def squeezed():
    """Return two atoms so close that their forces would dominate the loss."""
    return Atoms('SiC', [[0, 0, 0], [0.7, 0, 0]], cell=[5, 5, 5], pbc=True)


def test_replayed_structures_have_the_labels_of_the_initial_model_and_the_offsets(start, tmp_path):
    begin, calculator = start
    crystal = bulk('SiC', 'zincblende', a=4.36)
    crystal.rattle(0.1, seed=1)
    state = begin([crystal, squeezed()])
    assert (state.recipe, state.n_replayed, state.n_not_replayed) == ('replay', 1, 1)
    (frame,) = read_frames(tmp_path / REPLAY_FILE)
    crystal.info['REF_stress'] = None
    (found,) = evaluate_frames([crystal], calculator)
    # Silicon has an offset of 0.34 eV, and carbon, which no label contains, has none.
    assert frame.info['REF_energy'] == pytest.approx(found.energy + state.offsets_eV['Si'], abs=1e-6)
    np.testing.assert_allclose(frame.arrays['REF_forces'], found.forces, atol=1e-6)
    np.testing.assert_allclose(frame.info['REF_stress'], found.stress, atol=1e-6)
    (read,) = read_with_sevennet(tmp_path / REPLAY_FILE, index=':')
    labels = {'energy': frame.info['REF_energy'], 'forces': found.forces, 'stress': found.stress}
    read.assert_equal(labels, rtol=1e-5, atol=1e-5)


def test_structures_that_are_all_unusable_are_refused(start):
    with refused(Code.SETTINGS_REFUSED, f'{MAX_FORCE_OF_REPLAY:g}', '2'):
        start[0]([squeezed(), squeezed()])
