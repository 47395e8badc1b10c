"""The reference dataset that a selection extends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures
from aiida_mlip_autopipe.structures.rows.keys import LEVEL, read_level
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import SPLITS, Split

if TYPE_CHECKING:
    from ase import Atoms


def read_reference_dataset(path: Path) -> list[Atoms]:
    """Read all structures of a file.

    Parameters
    ----------
    path
        The file, in any format that ASE reads.

    Raises
    ------
    AutopipeError
        If the file is missing or unreadable, or contains no structures.
    """
    structures = list(_structures(path, ':'))
    if not structures:
        raise AutopipeError(Code.STRUCTURES_MISSING, f'{path} contains no structures')
    return structures


def check_reference_file(path: Path) -> None:
    """Check that the first structure of a file can be read. The others are not read, because there may be many.

    Raises
    ------
    AutopipeError
        If the file is missing or unreadable, or contains no structures.
    """
    if next(_structures(path, '0'), None) is None:
        raise AutopipeError(Code.STRUCTURES_MISSING, f'{path} contains no structures')


def _structures(path: Path, index: str) -> Iterator[Atoms]:
    from ase.db import connect
    from ase.io import iread

    if not path.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the dataset {path} does not exist')
    try:
        if path.suffix == '.db':
            # ASE's reader omits the key-value pairs of the rows.
            for row in connect(path).select():
                yield row.toatoms(add_additional_information=True)
        else:
            yield from iread(path, index)
    except Exception as error:  # ASE's readers raise various errors
        raise AutopipeError(Code.FILE_UNREADABLE, f'ASE cannot read structures from {path}: {error}') from error


def label_sources(structures: Iterable[Atoms]) -> list[str]:
    """Return the sources of the labels in the metadata of structures from a database or an extended XYZ file."""
    return sorted({str(pairs['label_source']) for pairs in map(_metadata, structures) if 'label_source' in pairs})


def reference_levels(structures: Iterable[Atoms]) -> dict[str, dict[str, Any] | None]:
    """Return the levels of theory of the labels by their hashes; None if a file contains only the hash."""
    found: dict[str, dict[str, Any] | None] = {}
    for atoms in structures:
        pairs, data = _metadata(atoms), atoms.info.get('data', {})
        key = pairs.get(LEVEL)
        if key in found:
            continue
        level = read_level(pairs, data)
        if level is not None:
            known = key is None or key == level.hash
            found[str(key or level.hash)] = level.model_dump() if known else None
    return dict(sorted(found.items()))


def count_splits(structures: Iterable[Atoms]) -> dict[str, int]:
    """Return the numbers of structures that are marked for training, validation and testing."""
    counts = Counter(str(pairs['split']) for pairs in map(_metadata, structures) if pairs.get('split'))
    return dict(sorted(counts.items()))


@dataclass(frozen=True, eq=False)
class ReferenceSets:
    """The groups and sets of the structures of a reference dataset.

    Attributes
    ----------
    groups
        The group of each structure: its parent or, without one, its seed. A structure without either forms its own
        group.
    splits
        The set of each structure; structures without one are used for training.
    with_labels
        Indices of the structures with energy and forces.
    labelled
        Quantities by which these structures are compared with candidates.
    """

    groups: list[str]
    splits: list[Split]
    with_labels: list[int]
    labelled: LabelledStructures

    @property
    def has_held_out(self) -> bool:
        """Whether a structure is for validation or testing."""
        return any(split != 'train' for split in self.splits)

    def sets_of_groups(self) -> dict[str, set[Split]]:
        """Return the sets of each group."""
        return _sets_of_groups(zip(self.groups, self.splits, strict=True))


def read_reference_sets(structures: Sequence[Atoms]) -> ReferenceSets:
    """Return the groups and sets of the structures of a reference dataset.

    Raises
    ------
    AutopipeError
        If a structure belongs to an unknown set.
    """
    groups, splits, with_labels = [], [], []
    for index, atoms in enumerate(structures):
        group, split = _group_and_set(index, _metadata(atoms))
        groups.append(group)
        splits.append(split)
        if atoms.calc is not None and {'energy', 'forces'} <= set(atoms.calc.results):
            with_labels.append(index)
    labelled = LabelledStructures.from_rows([Row(structures[index]) for index in with_labels])
    return ReferenceSets(groups, splits, with_labels, labelled)


def read_sets_of_groups(path: Path) -> dict[str, set[Split]]:
    """Return the sets of each group of the reference dataset in a file. Of a database, only the keys are read.

    Raises
    ------
    AutopipeError
        If the file is missing or unreadable, or a structure belongs to an unknown set.
    """
    return _sets_of_groups(_group_and_set(index, pairs) for index, pairs in enumerate(_pairs(path)))


def _pairs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the metadata of each structure of a file."""
    from ase.db import connect

    if path.suffix != '.db' or not path.is_file():
        yield from map(_metadata, _structures(path, ':'))
        return
    try:
        for row in connect(path).select(columns=['id', 'key_value_pairs']):
            yield row.key_value_pairs
    except Exception as error:  # ASE's readers raise various errors
        raise AutopipeError(Code.FILE_UNREADABLE, f'ASE cannot read structures from {path}: {error}') from error


def _group_and_set(index: int, pairs: Mapping[str, Any]) -> tuple[str, Split]:
    group = _text(pairs, 'parent') or _text(pairs, 'seed') or f'structure {index} of the reference dataset'
    split: Any = _text(pairs, 'split') or 'train'
    if split not in SPLITS:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN,
            f'structure {index} of the reference dataset belongs to the unknown set {split!r}; '
            f'the sets are {", ".join(SPLITS)}',
        )
    return group, split


def _sets_of_groups(found: Iterable[tuple[str, Split]]) -> dict[str, set[Split]]:
    sets: dict[str, set[Split]] = {}
    for group, split in found:
        sets.setdefault(group, set()).add(split)
    return sets


def _metadata(atoms: Atoms) -> dict[str, Any]:
    return {**atoms.info, **atoms.info.get('key_value_pairs', {})}


def _text(pairs: Mapping[str, Any], key: str) -> str:
    """Return a value as text, since ASE converts text in extended XYZ that looks like numbers; empty if missing."""
    value = pairs.get(key)
    if isinstance(value, bool | np.bool_):
        return str(value)[0]
    return '' if value is None else ' '.join(map(str, np.ravel(value)))
