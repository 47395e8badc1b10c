"""Write the HDF5 files that ``mace_prepare_data`` writes, from which MACE reads frames while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.structures.rows.row import Row

LABELS = ('energy', 'forces', 'stress', 'virials')
MAX_COMPACT_BYTES = 60_000


def write_mace_hdf5(path: Path, rows: Iterable[Row]) -> int:
    """Write a group for each row, all in the group ``config_batch_0``.

    A group contains the structure, and under ``properties`` the energy (eV), the forces (eV/Å) and the stress (eV/Å³,
    ASE's sign, 3×3). ``property_weights`` are 1 for the labels that the row has, and 0 for others. See `config_type`
    for ``config_type``, to which ``config_type_weights`` refer.

    Parameters
    ----------
    path
        The file to write.
    rows
        The rows.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    AutopipeError
        If h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f'writing {path.name} requires h5py: pip install "aiida-mlip-autopipe[hdf5]"',
        ) from None
    from ase.stress import voigt_6_to_full_3x3_stress

    n_rows = 0
    # The objects that several rows share, by their content.
    known: dict[tuple[Any, ...], Any] = {}
    # Without times, the same rows give the same bytes.
    with h5py.File(path, 'w', libver='latest', track_times=False) as file:
        batch = _create_group(file.id, 'config_batch_0')
        for index, row in enumerate(rows):
            labels, atoms = row.labels, row.atoms
            properties = {'energy': np.asarray(labels['energy']), 'forces': labels['forces']}
            if 'stress' in labels:
                properties['stress'] = voigt_6_to_full_3x3_stress(labels['stress'])
            group = _create_group(batch, f'config_{index}')
            _write_arrays(group, {'positions': atoms.positions, 'cell': atoms.cell.array})
            _write_arrays(_create_group(group, 'properties'), properties)
            shared = {
                'atomic_numbers': atoms.numbers.astype('<i8'),
                'pbc': np.asarray(atoms.pbc, dtype=bool),
                'weight': np.asarray(1.0),
                'config_type': np.asarray(config_type(row).encode()),
            }
            for name, array in shared.items():
                _link(group, name, known, {name: array})
            # MACE assumes a weight of 1 for a label without a weight, even if the label is absent.
            weights = {name: np.asarray(float(name in properties)) for name in LABELS}
            _link(group, 'property_weights', known, weights)
            n_rows += 1
    return n_rows


def _create_group(parent: Any, name: str) -> Any:
    """Create a group that has no times."""
    from h5py import h5g

    return h5g.create(parent, name.encode(), gcpl=_untimed_group())


@lru_cache(maxsize=1)
def _untimed_group() -> Any:
    from h5py import h5p

    untimed = h5p.create(h5p.GROUP_CREATE)
    untimed.set_obj_track_times(False)
    return untimed


def _write_arrays(group: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write small datasets through the low-level interface of h5py, which takes half the time."""
    from h5py import h5d, h5s

    for name, array in arrays.items():
        # HDF5 stores compact datasets in the header of an object, which cannot exceed 64 KiB.
        kind, space, layout = _description(array.dtype.str, array.shape, array.nbytes < MAX_COMPACT_BYTES)
        dataset = h5d.create(group, name.encode(), kind, space, layout)
        dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(array), kind)


@lru_cache(maxsize=1024)
def _description(dtype: str, shape: tuple[int, ...], compact: bool) -> tuple[Any, Any, Any]:
    """Return the type, the space and the layout of a dataset in HDF5."""
    from h5py import h5d, h5p, h5s, h5t

    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.COMPACT if compact else h5d.CONTIGUOUS)
    layout.set_obj_track_times(False)
    space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
    return h5t.py_create(np.dtype(dtype), logical=True), space, layout


def _link(group: Any, name: str, known: dict[tuple[Any, ...], Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a dataset, or a group of several, once, and link further groups to it. Readers see no difference."""
    key = (name, *((each, array.dtype.str, array.shape, array.tobytes()) for each, array in arrays.items()))
    if key in known:
        group.links.create_hard(name.encode(), *known[key])
        return
    parent = group if list(arrays) == [name] else _create_group(group, name)
    _write_arrays(parent, arrays)
    known[key] = group, name.encode()
