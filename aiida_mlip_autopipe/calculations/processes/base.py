"""What a work chain needs to label one structure with a process of another plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import Process
from ase import Atoms

from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.data.dataset import DatasetData, structures_in
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling.base import Variation
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import Failure, Label, Rule
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import SOFTWARE, Software

# Increase this if a change to this package, or to what it calls, changes the labels.
PROCESSES_VERSION = '1'

ERROR_REFUSED = 400
"""Exit code of a calcfunction that refuses a structure, which then has no label."""

Nodes = Mapping[str, orm.Data]


class ProcessKind(ABC):
    """A process of another plugin, with the calcfunctions before and after it."""

    prepare: Any
    """A calcfunction that makes the inputs of the process from ``dataset``, ``item``, ``settings``, ``variant`` and
    ``stage_version``, and from ``valences`` if there are pseudopotentials."""
    collect: Any
    """A calcfunction that makes the node of the label from ``dataset``, ``item``, ``settings``, ``level``, ``record``,
    ``versions`` and the outputs of the process that `outputs` names."""
    outputs: tuple[str, ...]
    """Names of the outputs of the process that are read."""

    @abstractmethod
    def process_class(self) -> type[Process]:
        """Return the class of the process.

        Raises
        ------
        AutopipeError
            If its plugin is not installed.
        """

    @abstractmethod
    def inputs(
        self,
        prepared: Nodes,
        code: orm.AbstractCode,
        options: dict[str, Any],
        pseudos: Nodes,
        time_limit_s: float | None,
    ) -> dict[str, Any]:
        """Return the inputs of the process.

        Parameters
        ----------
        prepared
            The outputs of `prepare`.
        code
            The code.
        options
            The options of its jobs.
        pseudos
            The pseudopotentials, by element.
        time_limit_s
            Time limit for the structure in seconds.
        """

    @abstractmethod
    def why_failed(self, node: orm.ProcessNode) -> tuple[Rule, str]:
        """Return the rule and the reason for the failure of a process."""

    @abstractmethod
    def attempts(self, node: orm.ProcessNode) -> list[Attempt]:
        """Return the attempts of a process that has ended."""


def structure_of(dataset: DatasetData | None, item: orm.Int) -> Atoms:
    """Return the structure in a row of a dataset, whose file is read only once for consecutive processes."""
    assert dataset is not None
    (atoms,) = structures_in(dataset, [item.value])
    return atoms


def record_of(kind: ProcessKind, node: orm.ProcessNode, threads: int) -> orm.Dict:
    """Return what a label records about the process: its attempts, its duration and, if it failed, the reason."""
    attempts = kind.attempts(node)
    record: dict[str, Any] = {
        'attempts': [asdict(one) for one in attempts],
        'seconds': sum(one.seconds for one in attempts),
        'threads': threads,
    }
    if not node.is_finished_ok:
        record['rule'], record['reason'] = kind.why_failed(node)
    return orm.Dict(record)


def refusal_record(reason: str) -> orm.Dict:
    """Return the record of a structure for which no process was started."""
    return orm.Dict({'attempts': [], 'seconds': 0.0, 'threads': 1, 'rule': 'raised', 'reason': reason})


def failure_from(record: Mapping[str, Any]) -> Failure:
    """Return the failure in a record from `record_of`."""
    attempts = tuple(Attempt(**one) for one in record['attempts'])
    return Failure(record['reason'], record['rule'], attempts, record['seconds'], record['threads'])


def label_from(record: Mapping[str, Any], **results: Any) -> Label | Failure:
    """Return the label of a process that has finished; a failure if a result is not finite.

    Parameters
    ----------
    record
        The content of `record_of`.
    **results
        The other fields of `Label`.
    """
    about = {
        'attempts': tuple(Attempt(**one) for one in record['attempts']),
        'seconds': record['seconds'],
        'threads': record['threads'],
    }
    label = Label(**results, **about)
    values = (label.energy_eV, label.forces_eV_A, 0.0 if label.stress_eV_A3 is None else label.stress_eV_A3)
    if not all(np.isfinite(value).all() for value in values):
        return Failure('the energy, a force or the stress is not finite', 'not_finite', **about)
    return label


def labels_node(
    atoms: Atoms | str, outcome: Label | Failure, level: LevelOfTheory, variant: Variation, software: Software
) -> LabelsData:
    """Return the node with the label of one structure, or with the energy of an isolated atom.

    Parameters
    ----------
    atoms
        The structure, or the symbol of the isolated atom.
    outcome
        Its label, or the reason why it has none.
    level
        The level of theory.
    variant
        What a repeated calculation changed.
    software
        The code and its version.
    """
    about = {SOFTWARE: software.model_dump(mode='json', exclude_none=True)}
    if isinstance(atoms, str):
        energies = {atoms: outcome.energy_eV} if isinstance(outcome, Label) else {}
        return LabelsData.from_outcomes(
            [], [], [], level, PROCESSES_VERSION, about=about, isolated_atom_energies_eV=energies, variant=variant
        )
    key = label_key(atoms, level.hash)
    return LabelsData.from_outcomes(
        [atoms.numbers], [key], [outcome], level, PROCESSES_VERSION, about=about, variant=variant
    )
