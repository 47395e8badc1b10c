"""A calcfunction that gives the rows of a dataset the labels of a reference method."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.data import chemical_symbols

from aiida_mlip_autopipe.calculations.export_dataset import software_of
from aiida_mlip_autopipe.calculations.labelling.decisions import (
    Dropped,
    FoundLabel,
    choose_repeats,
    collect_labels,
    find_suspicions,
    judge_labels,
    read_settings,
    screen_rows,
)
from aiida_mlip_autopipe.calculators.levels import has_accurate_stress
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling import Label, label_key
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage import export_dataset as export
from aiida_mlip_autopipe.storage.relabel import relabel
from aiida_mlip_autopipe.structures.rows.labels import LABELLING, RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS

# Increase this if a change to this folder, or to what it calls, changes the labelled dataset.
ATTACH_VERSION = '2'

ERROR_LABELS = 400
# Fields of a label that each row records, in addition to energy, forces and stress.
RECORDED = (
    'energy_kind',
    'free_energy_eV',
    'extrapolated_energy_eV',
    'magnetic_moments_muB',
    'attempts',
    'seconds',
    'threads',
)


@calcfunction
def attach_labels(
    dataset: DatasetData,
    settings: orm.Dict,
    level: orm.Dict,
    failures: orm.Dict,
    n_known: orm.Int,
    n_failed_before: orm.Int,
    stage_version: orm.Str,
    **nodes: Mapping[str, LabelsData],
) -> Mapping[str, orm.Data] | ExitCode:
    """Write a dataset with new labels. Each row keeps its previous labels in its data.

    Parameters
    ----------
    dataset
        The dataset.
    settings
        The settings of the labelling, from `result_settings`.
    level
        The level of theory of the labels.
    failures
        ``labels`` and ``repeats``: by key, ``rule`` and ``reason`` of structures whose failure no job could record.
    n_known
        Number of labels that the profile already contained, for the report.
    n_failed_before
        Number of structures that failed in earlier runs and were not computed again, for the report.
    stage_version
        Version of this function; increased when its results change.
    **nodes
        The namespaces ``labels`` and ``repeats`` (labels that were recomputed). The labels of the links have no
        meaning.

    Returns
    -------
    dict
        ``dataset``, without the rows that have no label, and ``report``.
    """
    rows, chosen = dataset.rows(), read_settings(settings)
    reference = LevelOfTheory.model_validate(level.get_dict())
    screened = screen_rows(rows, chosen)
    keys = {index: label_key(rows[index].atoms, reference.hash) for index in screened.kept}
    found = collect_labels(nodes.get('labels', {}).values(), failures['labels'])
    repeated = collect_labels(nodes.get('repeats', {}).values(), failures['repeats'])
    suspicions = find_suspicions(rows, keys, found)
    repeats = choose_repeats(rows, suspicions, chosen)
    dropped = [*screened.dropped, *judge_labels(keys, found, repeats, repeated)]
    left_out = {one.index for one in dropped}
    kept = [index for index in keys if index not in left_out]
    if not kept:
        return ExitCode(ERROR_LABELS, f'no row has a label: {_describe(dropped)}', invalidates_cache=True)
    atoms = _isolated_atoms(nodes.get('labels', {}).values())
    labelled = [_relabel(rows[index], keys[index], found[keys[index]], reference, atoms) for index in kept]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / dataset.filename
        try:
            export(path, labelled)
        except AutopipeError as error:
            return ExitCode(ERROR_LABELS, str(error), invalidates_cache=True)
        outputs = {'dataset': DatasetData.from_file(path)}
    report = {
        'level': reference.model_dump(mode='json'),
        'n_rows': len(rows),
        'n_labelled': len(labelled),
        'n_structures': len(set(keys.values())),
        'n_known': n_known.value,
        'n_failed_before': n_failed_before.value,
        'n_stresses_left_out': sum(
            _lacks_accurate_stress(rows[index], found[keys[index]], reference) for index in kept
        ),
        'n_repeated': len({keys[index] for index in repeats}),
        'suspicious': [
            {
                'row': rows[index].id,
                'repeated': repeats.get(index, ''),
                'kept': index not in left_out,
                'because': [vars(one) for one in found_here],
            }
            for index, found_here in suspicions.items()
        ],
        'n_dropped_by_rule': dict(Counter(one.rule for one in dropped)),
        'dropped': [
            {'row': rows[one.index].id, 'rule': one.rule, 'reason': one.reason}
            for one in sorted(dropped, key=lambda one: one.index)
        ],
        'isolated_atom_energies_eV': atoms,
        'isolated_atoms_failed': {
            symbol: failure['reason']
            for symbol, failure in sorted(failures['labels'].items())
            if symbol in chemical_symbols and symbol not in atoms
        },
        'core_s': _core_seconds([*found.values(), *repeated.values()]),
    }
    return {**outputs, 'report': orm.Dict(report)}


def _describe(dropped: Sequence[Dropped]) -> str:
    """Return how many rows each rule leaves out, with the first reason for each."""
    if not dropped:
        return 'the dataset has no rows'
    first = {one.rule: one.reason for one in reversed(dropped)}
    return '; '.join(f'{rule} ({n}): {first[rule]}' for rule, n in Counter(one.rule for one in dropped).items())


def _isolated_atoms(nodes: Iterable[LabelsData]) -> dict[str, float]:
    found: dict[str, float] = {}
    for node in sorted(nodes, key=lambda one: one.pk):
        found = node.isolated_atom_energies_eV | found
    return dict(sorted(found.items()))


def _relabel(row: Row, key: str, found: FoundLabel, level: LevelOfTheory, isolated_atoms: Mapping[str, float]) -> Row:
    label, node = found.outcome, found.node
    assert isinstance(label, Label)  # rows without a label were left out
    assert node is not None
    results = {'energy': label.energy_eV, 'forces': label.forces_eV_A}
    if label.stress_eV_A3 is not None and not _lacks_accurate_stress(row, found, level):
        results['stress'] = label.stress_eV_A3
    record = label.to_json()
    about = {LABELLING: {'key': key, 'labels': node.uuid, **{name: record[name] for name in RECORDED}}}
    own = {symbol: isolated_atoms[symbol] for symbol in sorted(set(row.atoms.symbols) & isolated_atoms.keys())}
    if own:
        about[ISOLATED_ATOMS] = own
    return relabel(row, RowLabels(results, level, software_of(node.base.attributes.get('about')), about))


def _lacks_accurate_stress(row: Row, found: FoundLabel, level: LevelOfTheory) -> bool:
    """Return whether a label has a stress that is not accurate enough for training."""
    outcome = found.outcome
    has_stress = isinstance(outcome, Label) and outcome.stress_eV_A3 is not None
    return has_stress and not has_accurate_stress(row.atoms, level)


def _core_seconds(found: Iterable[FoundLabel]) -> float:
    """Return the processor time of labels and failures in core seconds, including failed attempts."""
    return sum(one.outcome.seconds * one.outcome.threads for one in found)
