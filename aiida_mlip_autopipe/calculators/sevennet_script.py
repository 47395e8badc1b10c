"""SevenNet models saved as TorchScript, which load much faster on a CPU.

SevenNet imports training libraries that force calls do not need, and compiles the model in each process. The export
function of the package (``sevenn.scripts.deploy``) saves the compiled model. The saved model is stored with SevenNet's
results for a reference structure, and must reproduce them every time it is loaded.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.neighborlist import primitive_neighbor_list

# Increased when the content of the file changes.
FORMAT = 1
TOLERANCE = 1e-6


class ScriptMismatchError(Exception):
    """A saved model that does not reproduce the energies and forces of SevenNet."""


def load_script(checkpoint: Path, sha256: str, modal: str | None) -> ScriptedSevenNet:
    """Load the saved model of a checkpoint. Create it first if it does not exist.

    The file is in the user's cache folder, or in a temporary folder if the cache folder is not writable.

    Parameters
    ----------
    checkpoint
        The model file.
    sha256
        Its sha256, which identifies the saved model.
    modal
        Fidelity of a multi-fidelity model.

    Raises
    ------
    ScriptMismatchError
        If it does not reproduce the reference: the energy within 1e-6 eV per atom, forces and stress within a relative
        error of 1e-6.
    """
    name = f'{sha256[:16]}-{modal or "only"}-sevenn{version("sevenn")}-torch{version("torch")}-{FORMAT}.pt'
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'aiida-mlip-autopipe'
    path = folder / name
    if path.is_file():
        # If the file is damaged, or does not reproduce its reference on this machine, it is created again.
        with suppress(Exception):
            return ScriptedSevenNet(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            _export(checkpoint, modal, Path(temporary) / name)
            # Jobs that start together may all create the file. Each of them sees a complete file.
            os.replace(Path(temporary) / name, path)
        return ScriptedSevenNet(path)
    except OSError:
        with tempfile.TemporaryDirectory() as temporary:
            _export(checkpoint, modal, Path(temporary) / name)
            return ScriptedSevenNet(Path(temporary) / name)


class ScriptedSevenNet(Calculator):  # type: ignore[misc]
    """Evaluates a saved model on the CPU.

    Parameters
    ----------
    path
        A file made by `load_script`.
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, path: Path):
        import torch

        super().__init__()
        extra = {'description': ''}
        with warnings.catch_warnings():
            # torch recommends torch.export instead of TorchScript, but it is not suitable here.
            warnings.simplefilter('ignore', DeprecationWarning)
            self._model = torch.jit.load(str(path), map_location='cpu', _extra_files=extra)
        description = json.loads(_text(extra['description']))
        self.cutoff: float = description['cutoff']
        self._index = np.full(120, -1)
        for index, symbol in enumerate(description['symbols']):
            self._index[atomic_numbers[symbol]] = index
        _compare(self, description['reference'])

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of the supported elements."""
        return frozenset(int(number) for number in np.flatnonzero(self._index >= 0))

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute energy, forces and stress."""
        import torch

        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        n, volume = len(atoms), atoms.cell.volume
        first, second, vectors = _neighbours(atoms, self.cutoff)
        edges = torch.from_numpy(np.array([first, second], dtype=np.int64))
        data = {
            'x': torch.from_numpy(self._index[atoms.numbers]),
            'edge_index': edges,
            'edge_vec': torch.from_numpy(vectors.astype(np.float32)),
            'num_atoms': torch.tensor(n),
            'cell_volume': torch.tensor(volume, dtype=torch.float32),
        }
        # The optimising executor uses a different graph for the first calls than for later ones. The results differ in
        # the last bits, so a restarted run would differ from an uninterrupted one.
        with torch.jit.optimized_execution(False):
            output = self._model(data)
            energy, vector = output['inferred_total_energy'], output['edge_vec']
            (pull,) = torch.autograd.grad([energy.sum()], [vector], allow_unused=True)
        forces, stress = torch.zeros(n, 3), torch.zeros(3, 3)
        if pull is not None:
            forces = forces.index_add(0, edges[0], pull).index_add(0, edges[1], -pull)
            stress = vector.detach().T @ pull / max(volume, 1e-3)
        self.results = {
            'energy': energy.item(),
            'free_energy': energy.item(),
            'forces': forces.numpy().astype(float),
            'stress': (0.5 * (stress + stress.T)).numpy().astype(float)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


def _neighbours(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of neighbours in both orders, and the vectors from the first atom to the second in Å."""
    if atoms.pbc.all():
        try:
            from matscipy.neighbours import neighbour_list
        except ImportError:
            pass
        else:
            first, second, vectors = neighbour_list(
                'ijD', pbc=atoms.pbc, cell=atoms.cell.array, positions=atoms.positions, cutoff=cutoff
            )
            return first, second, vectors
    first, second, vectors = primitive_neighbor_list('ijD', atoms.pbc, atoms.cell.array, atoms.positions, cutoff)
    return first, second, vectors


def _export(checkpoint: Path, modal: str | None, path: Path) -> None:
    """Save the model of a checkpoint, with all information needed to use it."""
    import torch
    from sevenn.calculator import SevenNetCalculator
    from sevenn.scripts.deploy import deploy

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        calculator = SevenNetCalculator(str(checkpoint), device='cpu', modal=modal)
        raw = path.with_name('raw.pt')
        deploy(str(checkpoint), str(raw), modal=modal)
        extra = {'chemical_symbols_to_index': '', 'cutoff': ''}
        model = torch.jit.load(str(raw), map_location='cpu', _extra_files=extra)
        symbols = _text(extra['chemical_symbols_to_index']).split()
        description = {
            'symbols': symbols,
            'cutoff': float(_text(extra['cutoff'])),
            'reference': _reference(calculator, symbols),
        }
        torch.jit.save(model, str(path), _extra_files={'description': json.dumps(description)})


def _text(content: str | bytes) -> str:
    """Return the content of an extra file as text; torch may return bytes."""
    return content.decode() if isinstance(content, bytes) else content


def _reference(calculator: Any, symbols: list[str]) -> dict[str, Any]:
    """Return an asymmetric structure of up to four elements, and the results of a calculator for it, as JSON."""
    chosen = [symbols[(index * (len(symbols) - 1)) // 3] for index in range(4)]
    scaled = [[0.0, 0.0, 0.0], [0.51, 0.5, 0.02], [0.5, 0.03, 0.48], [0.04, 0.5, 0.53]]
    atoms = Atoms(chosen, scaled_positions=scaled, cell=[[5.0, 0.1, 0.0], [0.0, 4.9, 0.2], [0.3, 0.0, 5.2]], pbc=True)
    atoms.calc = calculator
    return {
        'symbols': chosen,
        'cell': atoms.cell.array.tolist(),
        'scaled_positions': scaled,
        'energy': float(atoms.get_potential_energy()),
        'forces': atoms.get_forces().tolist(),
        'stress': atoms.get_stress().tolist(),
    }


def _compare(calculator: Calculator, reference: dict[str, Any]) -> None:
    atoms = Atoms(
        reference['symbols'], scaled_positions=reference['scaled_positions'], cell=reference['cell'], pbc=True
    )
    atoms.calc = calculator
    forces = np.array(reference['forces'])
    stress = np.array(reference['stress'])
    differences = {
        'energy per atom': abs(atoms.get_potential_energy() - reference['energy']) / len(atoms),
        'forces': np.abs(atoms.get_forces() - forces).max() / max(1.0, np.abs(forces).max()),
        'stress': np.abs(atoms.get_stress() - stress).max() / max(1.0, np.abs(stress).max()),
    }
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ScriptMismatchError(f'the saved model differs from the original by {difference:.1e} in {name}')
    calculator.reset()
