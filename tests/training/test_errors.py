import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa

from aiida_mlip_autopipe.training.errors import evaluate_frames, label_differences, measure_errors, read_frames
from aiida_mlip_autopipe.training.offsets import Offsets


@pytest.fixture
def frames():
    """Return two frames whose labels differ from the results of EMT by 0.2 eV/atom, 0.3 eV/Å and 2 GPa."""
    found = []
    for number in range(2):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.05, seed=number)
        atoms.calc = EMT()
        atoms.info['REF_energy'] = atoms.get_potential_energy() + 4 * 0.2
        atoms.arrays['REF_forces'] = atoms.get_forces() + 0.3
        atoms.info['REF_stress'] = atoms.get_stress() - 2 * GPa
        atoms.calc = None
        found.append(atoms)
    return found


def test_errors_are_per_atom_and_per_component(frames):
    errors = measure_errors(frames, evaluate_frames(frames, EMT()))
    assert errors.n_frames == 2
    assert errors.energy_rmse_eV_atom == pytest.approx(0.2)
    assert errors.force_rmse_eV_A == pytest.approx(0.3)
    assert errors.stress_rmse_GPa == pytest.approx(2.0)


def test_offsets_are_added_to_the_model(frames):
    evaluations = evaluate_frames(frames, EMT())
    assert label_differences(frames, evaluations) == pytest.approx([0.8, 0.8])
    errors = measure_errors(frames, evaluations, Offsets({'Cu': 0.15}, 0.0, True))
    assert errors.energy_rmse_eV_atom == pytest.approx(0.05)


def test_a_set_without_stresses_has_no_stress_error(frames):
    for frame in frames:
        del frame.info['REF_stress']
    assert measure_errors(frames, evaluate_frames(frames, EMT())).stress_rmse_GPa is None


def test_labels_are_read_from_extended_xyz(frames, tmp_path):
    write(tmp_path / 'set.extxyz', frames)
    read = read_frames(tmp_path / 'set.extxyz')
    assert [frame.info['REF_energy'] for frame in read] == pytest.approx([one.info['REF_energy'] for one in frames])
    assert np.allclose(read[1].arrays['REF_forces'], frames[1].arrays['REF_forces'], atol=1e-7)
    assert isinstance(read[0], Atoms)
