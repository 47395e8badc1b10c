"""The node of labels: reference energies, forces and stresses of structures at one level of theory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm

from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.labelling.base import Variation
from aiida_mlip_autopipe.labelling.label import ARRAYS, LASTING_FAILURES, Failure, Label, Rule, outcome_from_json
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

LABELS_NODE_VERSION = 1
"""Version of the content of a `LabelsData`."""

FIRST_METHOD_VERSION = '1'
"""The version of the method of nodes that do not record it."""

ENERGIES = {
    'energies': 'energy_eV',
    'free_energies': 'free_energy_eV',
    'extrapolated_energies': 'extrapolated_energy_eV',
}
"""The arrays with the energies of a label. AiiDA rounds floats in attributes."""
IN_ARRAYS = {*ARRAYS, *ENERGIES.values()}


class LabelsData(orm.ArrayData):
    """The labels of structures at one level of theory, and the reasons why structures have none.

    With s structures that have n atoms in total, the arrays are ``n_atoms`` (s,), ``numbers`` (n,), ``energies``,
    ``free_energies`` and ``extrapolated_energies`` in eV (s,), ``forces`` in eV/Å (n, 3), ``stresses`` in eV/Å³ (s, 6)
    and ``magnetic_moments`` in μB (n,). Missing values are NaN.

    The attributes are ``keys`` (of the labels, see `label_key`), ``records`` (the label of each structure without these
    values, or its failure), ``level`` and ``level_hash``, ``variant`` (what a repeated calculation changed; empty for
    unchanged settings), ``method_version`` (`LABELLING_VERSION`; of labels of another plugin's process,
    `PROCESSES_VERSION`), ``about`` (the software) and ``isolated_atom_energies_eV``.
    """

    @classmethod
    def from_outcomes(
        cls,
        numbers: Sequence[np.ndarray],
        keys: Sequence[str],
        outcomes: Sequence[Label | Failure],
        level: LevelOfTheory,
        method_version: str,
        *,
        about: Mapping[str, Any] | None = None,
        isolated_atom_energies_eV: Mapping[str, float] | None = None,
        variant: Variation = '',
    ) -> LabelsData:
        """Return an unstored node.

        Parameters
        ----------
        numbers
            Atomic numbers of each structure.
        keys
            Key of the label of each structure.
        outcomes
            Label of each structure, or the reason why it has none.
        level
            The level of theory.
        method_version
            Version of the method that computed the labels.
        about
            The software that computed the labels: fields of the result of the job, as in evaluation nodes.
        isolated_atom_energies_eV
            Energies of isolated atoms at this level, in eV by symbol.
        variant
            What a repeated calculation changed.
        """
        sizes = [len(one) for one in numbers]
        node = cls(
            {
                'n_atoms': np.array(sizes, dtype=np.int64),
                'numbers': np.concatenate([np.empty(0, dtype=np.int64), *numbers]),
                **{array: np.array([_array(one, name, ()) for one in outcomes]) for array, name in ENERGIES.items()},
                'forces': np.concatenate([np.empty((0, 3)), *_arrays(outcomes, 'forces_eV_A', sizes, 3)]),
                'stresses': np.array([_array(one, 'stress_eV_A3', (6,)) for one in outcomes]).reshape(-1, 6),
                'magnetic_moments': np.concatenate([np.empty(0), *_arrays(outcomes, 'magnetic_moments_muB', sizes)]),
            }
        )
        node.base.attributes.set_many(
            {
                'keys': list(keys),
                'records': [
                    {name: value for name, value in one.to_json().items() if name not in IN_ARRAYS} for one in outcomes
                ],
                'level': level.model_dump(mode='json'),
                'level_hash': level.hash,
                'variant': variant,
                'method_version': method_version,
                'about': dict(about or {}),
                'isolated_atom_energies_eV': dict(isolated_atom_energies_eV or {}),
            }
        )
        set_schema(node, LABELS_NODE_VERSION)
        return node

    @property
    def keys(self) -> list[str]:
        """The key of each label."""
        return list(self.base.attributes.get('keys'))

    @property
    def level(self) -> LevelOfTheory:
        """The level of theory."""
        return LevelOfTheory.model_validate(self.base.attributes.get('level'))

    @property
    def isolated_atom_energies_eV(self) -> dict[str, float]:
        """Energies of isolated atoms at this level, in eV by symbol."""
        return dict(self.base.attributes.get('isolated_atom_energies_eV'))

    def outcomes(self) -> list[Label | Failure]:
        """Return the label of each structure, or the reason why it has none.

        Raises
        ------
        SchemaVersionError
            If the node was written by a version of the package that this version cannot read.
        """
        check_schema(self, LABELS_NODE_VERSION)
        ends = np.cumsum(self.get_array('n_atoms'))[:-1]
        forces = np.split(self.get_array('forces'), ends)
        moments = np.split(self.get_array('magnetic_moments'), ends)
        stresses = self.get_array('stresses')
        energies = {name: self.get_array(array) for array, name in ENERGIES.items()}
        found: list[Label | Failure] = []
        for index, record in enumerate(self.base.attributes.get('records')):
            values = dict(zip(ARRAYS, (forces[index], stresses[index], moments[index]), strict=True))
            values |= {name: array[index] for name, array in energies.items()}
            known = {name: None if np.isnan(one).any() else one.tolist() for name, one in values.items()}
            found.append(outcome_from_json(record if 'rule' in record else record | known))
        return found


def find_isolated_atoms(symbols: Collection[str], level_hash: str, method_version: str) -> dict[str, LabelsData]:
    """Return the stored nodes that contain the energies of isolated atoms, by symbol; the oldest node of each.

    Parameters
    ----------
    symbols
        The elements.
    level_hash
        The hash of the level of theory.
    method_version
        The version of the method.
    """
    found: dict[str, LabelsData] = {}
    for node, energies in _query(level_hash, method_version, '', 'isolated_atom_energies_eV'):
        for symbol in energies.keys() & set(symbols):
            found.setdefault(symbol, node)
    return found


def find_labels(
    keys: Collection[str], level_hash: str, method_version: str, *, variant: Variation = ''
) -> dict[str, tuple[LabelsData, int]]:
    """Return where the labels of structures are stored: the node and the index in it, by key.

    Parameters
    ----------
    keys
        The keys of the labels (`label_key`).
    level_hash
        The hash of the level of theory.
    method_version
        The version of the method. A label of another version is not the label that a job would compute now.
    variant
        What a repeated calculation changed.
    """
    return _find(keys, level_hash, method_version, variant, {None})


def find_failures(
    keys: Collection[str], level_hash: str, method_version: str, *, variant: Variation = ''
) -> dict[str, tuple[LabelsData, int]]:
    """Return the stored failures that would happen again (`LASTING_FAILURES`); see `find_labels`."""
    return _find(keys, level_hash, method_version, variant, LASTING_FAILURES)


def _find(
    keys: Collection[str], level_hash: str, method_version: str, variant: Variation, rules: Collection[Rule | None]
) -> dict[str, tuple[LabelsData, int]]:
    """Return stored labels (rule None) or failures."""
    wanted, found = set(keys), {}
    for node, stored, records in _query(level_hash, method_version, variant, 'keys', 'records'):
        for index, (key, record) in enumerate(zip(stored, records, strict=True)):
            if key in wanted and key not in found and record.get('rule') in rules:
                found[key] = (node, index)
    return found


def _query(level_hash: str, method_version: str, variant: Variation, *names: str) -> Iterator[list[Any]]:
    """Yield stored nodes and some of their attributes.

    The oldest nodes are first, so that the label that is found does not change when others are added.
    """
    query = orm.QueryBuilder().append(
        LabelsData,
        filters={'attributes.level_hash': level_hash, 'attributes.variant': variant},
        project=['attributes.method_version', '*', *(f'attributes.{name}' for name in names)],
    )
    query.order_by({LabelsData: ['id']})
    for version, *found in query.iterall():
        if (version or FIRST_METHOD_VERSION) == method_version:
            yield found


def _arrays(
    outcomes: Sequence[Label | Failure], name: str, sizes: Sequence[int], *columns: int
) -> Iterator[np.ndarray]:
    for outcome, size in zip(outcomes, sizes, strict=True):
        yield _array(outcome, name, (size, *columns))


def _array(outcome: Label | Failure, name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = getattr(outcome, name, None)
    return np.full(shape, np.nan) if value is None else np.asarray(value, dtype=float)
