"""The labels of a row: those that it has now, and those at other levels of theory that it keeps in its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import Software, mlip_label_source
from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS, Row

OTHER_LABELS = 'labels_before'
"""Key in the data of a row for its labels at other levels of theory: a mapping by the name of the level, with its hash
if two levels share a name."""
DFT_SETTINGS = 'dft_settings'
"""Key in the data of a row for the hash of the settings of the DFT code for which this program wrote the inputs."""
LABELLING = 'labelling'
"""Key in the data of a row for the record of the calculation of its labels, such as its ``seconds`` and ``threads``."""
ABOUT_LABELS = (ISOLATED_ATOMS, DFT_SETTINGS, LABELLING)
"""Keys in the data of a row that belong to its labels, apart from their level."""
SOFTWARE = 'software'


@dataclass(frozen=True, eq=False)
class RowLabels:
    """The labels of a row at one level of theory.

    Attributes
    ----------
    results
        ``energy`` in eV, ``forces`` (n, 3) in eV/Å and, if known, ``stress`` (6,) in eV/Å³ with ASE's sign convention
        and Voigt order.
    level
        The level of theory.
    software
        The calculator or the DFT code, and its versions; None if unknown.
    about
        Further data of the labels, with the keys `ABOUT_LABELS`: the energies of isolated atoms at this level, the hash
        of the settings of a DFT code, and the record of the calculation.
    """

    results: Mapping[str, Any]
    level: LevelOfTheory
    software: Software | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return the labels in the form in which the data of a row contain them."""
        software = {} if self.software is None else {SOFTWARE: self.software.model_dump(exclude_none=True)}
        return {**self.results, LEVEL: self.level.model_dump(), **software, **self.about}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> RowLabels:
        """Return the labels from the data of a row."""
        results = {'energy': float(data['energy']), 'forces': np.asarray(data['forces'], dtype=float)}
        if data.get('stress') is not None:
            results['stress'] = np.asarray(data['stress'], dtype=float)
        software = Software.model_validate(data[SOFTWARE]) if SOFTWARE in data else None
        about = {key: data[key] for key in ABOUT_LABELS if key in data}
        return cls(results, LevelOfTheory.model_validate(data[LEVEL]), software, about)


def present_labels(row: Row) -> RowLabels | None:
    """Return the labels that a row has now; None if it has none, or does not name their level of theory."""
    level = row.level
    if level is None or row.atoms.calc is None:
        return None
    if 'provenance' in row.data:
        software: Software | None = row.provenance.labelled
    else:
        software = Software.from_pairs(row.key_value_pairs)
    return RowLabels(row.labels, level, software, {key: row.data[key] for key in ABOUT_LABELS if key in row.data})


def other_labels(row: Row) -> dict[str, RowLabels]:
    """Return the labels of a row at other levels of theory, by the keys under which its data contain them."""
    found = {key: RowLabels.from_data(data) for key, data in row.data.get(OTHER_LABELS, {}).items()}
    return {key: _with_software(labels, row) for key, labels in found.items()}


def _with_software(labels: RowLabels, row: Row) -> RowLabels:
    """Return labels with their software. Earlier versions did not keep it, but it may have explored the frame."""
    if labels.software is not None or 'provenance' not in row.data:
        return labels
    explored = row.provenance.explored
    is_explored = labels.level.name == mlip_label_source(explored.architecture, explored.model)
    return replace(labels, software=explored) if is_explored else labels
