"""Read datasets as MACE and SevenNet do when they train: with their own code, and MACE in its environment."""

import json
import os
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from ase.stress import full_3x3_to_voigt_6_stress

WITHOUT_MACE = pytest.mark.skipif(
    'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ, reason='MACE is not installed in a separate environment'
)
READ_WITH_MACE = """
import json, sys
import mace  # must precede e3nn, which this torch cannot load alone
import torch
from mace.data import AtomicData, HDF5Dataset, KeySpecification, load_from_xyz
from mace.tools import AtomicNumberTable

torch.set_default_dtype(torch.float64)
path, numbers = sys.argv[1], AtomicNumberTable(json.loads(sys.argv[2]))
if path.endswith('.h5'):
    dataset = HDF5Dataset(path, r_max=4.0, z_table=numbers)
    frames = [dataset[index] for index in range(len(dataset))]
else:
    _, configs = load_from_xyz(path, KeySpecification.from_defaults())
    frames = [AtomicData.from_config(one, z_table=numbers, cutoff=4.0) for one in configs]
for data in frames:
    weights = {name: float(getattr(data, name + '_weight')) for name in ('energy', 'forces', 'stress')}
    print(json.dumps([float(data.energy), data.forces.tolist(), data.stress[0].tolist(), weights]))
"""


@dataclass(frozen=True, eq=False)
class ReadLabels:
    """The labels of a frame that a trainer has read, in eV, eV/Å and eV/Å³ with ASE's sign and Voigt order.

    ``used`` has the names of the labels that the trainer uses.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    used: set[str]

    def assert_equal(self, results, rtol, atol):
        """Compare the labels with results of ASE, which may lack the stress."""
        assert self.used == {'energy', 'forces', 'stress'} & results.keys()
        np.testing.assert_allclose(self.energy, results['energy'], rtol=rtol, atol=atol)
        np.testing.assert_allclose(self.forces, results['forces'], rtol=rtol, atol=atol)
        if 'stress' in results:
            np.testing.assert_allclose(self.stress, results['stress'], rtol=rtol, atol=atol)


def read_with_mace(path, numbers):
    """Return the labels of each frame of an .extxyz or .h5 file with these atomic numbers, in double precision."""
    command = [os.environ['MLIP_AUTOPIPE_MACE_PYTHON'], '-c', READ_WITH_MACE, str(path), json.dumps(sorted(numbers))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = []
    for line in done.stdout.splitlines():
        if line.startswith('['):
            energy, forces, stress, weights = json.loads(line)
            assert set(weights.values()) <= {0.0, 1.0}
            used = {name for name, weight in weights.items() if weight}
            found.append(ReadLabels(energy, np.array(forces), full_3x3_to_voigt_6_stress(np.array(stress)), used))
    return found


def read_with_sevennet(path, **keys):
    """Return the labels of each frame of an .extxyz file, in single precision."""
    from sevenn.train.dataload import ase_reader, graph_build

    found = []
    for graph in graph_build(ase_reader(str(path), **keys), cutoff=4.0):
        stress = np.asarray(graph['stress'], dtype=float).reshape(6)
        # The stress has the opposite sign and the order xx, yy, zz, xy, yz, zx. It is NaN if the frame has none.
        used = {'energy', 'forces'} | ({'stress'} if np.isfinite(stress).all() else set())
        forces = np.asarray(graph['force_of_atoms'], dtype=float)
        found.append(ReadLabels(float(graph['total_energy']), forces, -stress[[0, 1, 2, 4, 5, 3]], used))
    return found
