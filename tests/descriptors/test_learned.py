"""Learned descriptors are invariant under rotation, translation, permutation of atoms and repetition of a cell."""

from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk
from support.tiny_mace import write_tiny_mace

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.contract import DESCRIPTORS_FILE
from aiida_mlip_autopipe.structures.trajectory import Trajectory

pytestmark = pytest.mark.mlip

LEARNED = {'kind': 'learned'}


# The two packages cannot be installed in the same environment. The tests run with either of them.
INSTALLED = [kind for kind, module in {'sevennet': 'sevenn', 'mace': 'mace'}.items() if find_spec(module) is not None]


@pytest.fixture(scope='module', params=INSTALLED)
def calculator(request, tmp_path_factory):
    if request.param == 'sevennet':
        return {'kind': 'sevennet', 'device': 'cpu'}
    model = write_tiny_mace(tmp_path_factory.mktemp('mace') / 'tiny.model')
    return {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu'}


def as_trajectory(atoms):
    return Trajectory(
        seed_id='seed',
        numbers=atoms.numbers,
        pbc=atoms.pbc,
        steps=np.array([0]),
        positions=atoms.positions[None],
        cells=atoms.cell.array[None],
        energies=np.zeros(1),
        forces=np.zeros((1, len(atoms), 3)),
        stresses=np.zeros((1, 6)),
        temperatures=np.zeros(1),
    )


def test_learned_descriptors_are_invariant(describe, calculator):
    atoms = bulk('Cu', cubic=True)
    atoms.numbers[0] = 79
    atoms.rattle(0.15, seed=2)
    rotated, moved, repeated, other = atoms.copy(), atoms.copy(), atoms * (2, 1, 1), atoms.copy()
    rotated.rotate(37, (1, 2, 3), rotate_cell=True)
    moved.translate([0.3, 0.2, 0.1])
    renumbered = atoms[[2, 0, 3, 1]]
    other.rattle(0.15, seed=5)
    structures = [atoms, rotated, moved, renumbered, repeated, other]
    frames = [as_trajectory(one) for one in structures]
    result = describe(frames, species=(29, 79), descriptor=LEARNED, calculator=calculator)
    assert result.outcome == 'completed', result.message
    assert (result.calculator_name, result.n_frames) == (calculator['kind'], 6)
    features = np.load(describe.folder / DESCRIPTORS_FILE)
    assert np.linalg.norm(features, axis=1) == pytest.approx(1)
    distances = np.linalg.norm(features - features[0], axis=1)
    assert distances[:5].max() < 1e-5
    assert distances[5] > 30 * distances[:5].max()


def test_an_element_that_the_calculator_does_not_support_is_refused(describe, calculator):
    atoms = bulk('Cu', cubic=True)
    # SevenNet does not support francium, and the small model supports only copper and gold.
    atoms.numbers[0] = 87
    result = describe([as_trajectory(atoms)], species=(29, 87), descriptor=LEARNED, calculator=calculator)
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert ' Fr' in result.message


def test_a_model_file_with_another_sha256_is_refused(describe, calculator):
    expecting = {**calculator, 'model_sha256': '0' * 64}
    frames = [as_trajectory(bulk('Cu'))]
    result = describe(frames, species=(29,), descriptor=LEARNED, calculator=expecting)
    assert (result.outcome, result.code) == ('refused', Code.MODEL_MISMATCH)
