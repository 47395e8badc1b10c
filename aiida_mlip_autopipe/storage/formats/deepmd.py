"""Write the folders of NumPy files from which DeePMD-kit trains.

This takes a few lines of NumPy, so dpdata, which writes the same folders, is only needed to test them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from aiida_mlip_autopipe.storage.formats.losses import virial
from aiida_mlip_autopipe.structures.rows.row import Row

Key = tuple[tuple[int, ...], bool, bool]


def write_deepmd(path: Path, rows: Iterable[Row]) -> int:
    """Write a system for each composition: a subfolder with ``type.raw``, ``type_map.raw`` and ``set.000``.

    Atoms are sorted by element, since all frames of a system must have the same order of elements. ``energy.npy`` is in
    eV, ``force.npy`` in eV/Å and ``virial.npy`` in eV, positive for a compressed crystal. Non-periodic frames, and
    frames without stress, are in separate systems. All systems have the same ``type_map.raw``. Numbers are in float64.

    Parameters
    ----------
    path
        The folder to write.
    rows
        Rows that are periodic in all directions or in none.

    Returns
    -------
    int
        Number of rows written.
    """
    frames: defaultdict[Key, list[dict[str, np.ndarray]]] = defaultdict(list)
    for row in rows:
        atoms, labels, found = row.atoms, row.labels, virial(row)
        order = np.argsort(atoms.numbers, kind='stable')
        frame = {
            'coord': atoms.positions[order].ravel(),
            'box': atoms.cell.array.ravel(),
            'energy': np.array(labels['energy']),
            'force': labels['forces'][order].ravel(),
        }
        if found is not None:
            frame['virial'] = found.ravel()
        is_periodic = bool(atoms.pbc.all())
        if not is_periodic:
            del frame['box']
        frames[(tuple(atoms.numbers[order].tolist()), is_periodic, found is not None)].append(frame)
    elements = sorted({number for numbers, _, _ in frames for number in numbers})
    types = {number: str(index) for index, number in enumerate(elements)}
    for key, found_frames in frames.items():
        numbers, is_periodic, _ = key
        folder = path / _name(key, frames)
        (folder / 'set.000').mkdir(parents=True)
        (folder / 'type.raw').write_text('\n'.join(types[number] for number in numbers) + '\n')
        (folder / 'type_map.raw').write_text('\n'.join(chemical_symbols[number] for number in elements) + '\n')
        if not is_periodic:
            (folder / 'nopbc').touch()
        for name in found_frames[0]:
            np.save(folder / 'set.000' / f'{name}.npy', np.array([frame[name] for frame in found_frames], dtype='<f8'))
    return sum(len(found_frames) for found_frames in frames.values())


def _name(key: Key, keys: Iterable[Key]) -> str:
    """Return the name of a system: its formula, with a suffix if a similar system needs to be distinguished."""
    numbers, is_periodic, has_virial = key
    counts = {chemical_symbols[number]: numbers.count(number) for number in dict.fromkeys(numbers)}
    is_shared = (numbers, is_periodic, not has_virial) in keys
    suffix = '' if is_periodic else '-nopbc'
    return (
        str(Formula.from_dict(counts).format('hill')) + suffix + ('-novirial' if is_shared and not has_virial else '')
    )
