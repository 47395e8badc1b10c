"""The dataset card: the content and origin of a dataset, as JSON metadata and as Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import GPa

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.reporting.checksum import content_checksum
from aiida_mlip_autopipe.reporting.markdown import escape, fenced
from aiida_mlip_autopipe.reporting.origins import (
    count_levels,
    count_other_levels,
    find_levels,
    list_licences,
    list_origins,
)
from aiida_mlip_autopipe.structures.disagreement import LARGEST
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, join_alike
from aiida_mlip_autopipe.structures.rows.contents import describe_rows, tabulate_sets
from aiida_mlip_autopipe.structures.rows.level import describe_difference
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS
from aiida_mlip_autopipe.structures.rows.row import Row, isolated_atom_energies

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""The quantiles that describe a distribution, from the minimum to the maximum."""

TITLES = {
    'level_of_theory': 'level of theory',
    'other_levels': 'further labels',
    'elements': 'elements',
    'compositions': 'compositions',
    'kinds': 'kinds of seeds',
    'entry_labels': 'labels of entries',
    'ensembles': 'ensembles',
    'atoms_per_structure': 'atoms per structure',
    'periodic_directions': 'periodic directions',
    'energy_eV_per_atom': 'energy, eV/atom',
    'force_eV_A': 'force, eV/Å',
    'largest_force_eV_A': 'maximum force of a structure, eV/Å',
    'pressure_GPa': 'static pressure, GPa',
    'periodic_volume_A3_per_atom': 'volume of periodic structures, Å³/atom',
    'temperature_K': 'instantaneous temperature, K',
    'force_disagreement_eV_A': 'force disagreement of a committee, eV/Å',
}
"""Titles of the counts and distributions in `DatasetInfo`, as on the card."""


@dataclass(frozen=True)
class Distribution:
    """The distribution of a quantity over a dataset, in the unit at the end of its name.

    Attributes
    ----------
    minimum, q05, median, q95, maximum
        Minimum, 5th percentile, median, 95th percentile and maximum.
    """

    minimum: float
    q05: float
    median: float
    q95: float
    maximum: float


@dataclass(frozen=True)
class DatasetInfo:
    """The content and origin of a dataset.

    Attributes
    ----------
    n_rows, n_atoms
        Number of structures, and number of atoms in all of them.
    checksum
        Checksum of the content; see `content_checksum`.
    version
        Version that the authors gave to the dataset; None if it is not known.
    counts
        Number of rows for each value of a property, by the name of the property.
    sets
        For each stored set, the number ``n`` of its rows, and the number of rows by kind, label, composition and
        temperature; empty if no row has a set.
    origins
        Each combination of campaign and config, with the calculator and the software that ``explored`` and that
        ``labelled`` the rows, and its ``n_rows``. The most frequent comes first.
    licences
        The ``licence`` of the weights of each ``architecture`` and ``model`` that computed labels, and the ``source``
        of this information. DFT labels have none.
    isolated_atom_energies_eV
        Energy of an isolated atom of each element, by symbol; None if unknown.
    distributions
        Distributions of quantities over the dataset, by name. Each name ends with a unit.
    warnings
        Problems that matter for training on the dataset.
    """

    n_rows: int
    n_atoms: int
    checksum: str
    version: str | None
    counts: dict[str, dict[str, int]]
    sets: dict[str, dict[str, Any]]
    origins: tuple[dict[str, Any], ...]
    licences: tuple[dict[str, Any], ...]
    isolated_atom_energies_eV: dict[str, float] | None
    distributions: dict[str, Distribution]
    warnings: tuple[str, ...]


def read_dataset_info(rows: Sequence[Row], version: str | None = None) -> DatasetInfo:
    """Summarise the content of a dataset, whose rows do not contain its version.

    Raises
    ------
    AutopipeError
        If the dataset has no rows.
    """
    if not rows:
        raise AutopipeError(Code.DATASET_EMPTY, 'a dataset without rows cannot be described')
    warnings = _warnings(rows)
    try:
        isolated_atoms = isolated_atom_energies(rows)
    except AutopipeError as error:
        isolated_atoms = None
        warnings.append(str(error))
    return DatasetInfo(
        n_rows=len(rows),
        n_atoms=sum(len(row.atoms) for row in rows),
        checksum=content_checksum(rows),
        version=version,
        counts={
            'level_of_theory': count_levels(rows),
            'other_levels': count_other_levels(rows),
            **{name: _count(rows, of) for name, of in COUNTED.items()},
        },
        sets=_sets(rows),
        origins=tuple(list_origins(rows)),
        licences=tuple(list_licences(rows)),
        isolated_atom_energies_eV=isolated_atoms,
        distributions=_distributions(rows),
        warnings=tuple(warnings),
    )


def describe_dataset(rows: Sequence[Row], version: str | None = None) -> dict[str, Any]:
    """Summarise the content of a dataset in the form of its JSON metadata.

    Returns
    -------
    dict
        The fields of `DatasetInfo`. The keys of ``counts`` and ``distributions`` are titles, and each distribution is a
        list of its quantiles.

    Raises
    ------
    AutopipeError
        If the dataset has no rows.
    """
    info = read_dataset_info(rows, version)
    return {
        **vars(info),
        'counts': {TITLES[name]: counts for name, counts in info.counts.items()},
        'origins': list(info.origins),
        'licences': list(info.licences),
        'distributions': {TITLES[name]: list(astuple(found)) for name, found in info.distributions.items()},
        'warnings': list(info.warnings),
    }


def write_card(
    path: Path,
    rows: Sequence[Row],
    *,
    config: str | None = None,
    version: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write the card as Markdown to a path that ends in ``.md``, and the metadata to a ``.json`` file next to it.

    Parameters
    ----------
    path
        For example, ``cu_au.md``. The metadata are then written to ``cu_au.json``.
    rows
        The dataset.
    config
        The text of the config file of the campaign.
    version
        The version of the dataset.
    overwrite
        Whether to replace existing files.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.md``, a file exists or the dataset has no rows.
    """
    if path.suffix != '.md':
        raise AutopipeError(Code.FILE_SUFFIX, f'the file of a card must end in .md; got {path}')
    card = describe_dataset(rows, version) | ({'config': config} if config else {})
    with (
        atomic_write(path, overwrite=overwrite) as markdown,
        atomic_write(path.with_suffix('.json'), overwrite=overwrite) as data,
    ):
        markdown.write_text(render_card(card, path.stem))
        data.write_text(json.dumps(card, indent=2, allow_nan=False) + '\n')


def render_card(card: Mapping[str, Any], name: str) -> str:
    """Return a card as Markdown. Text from the dataset is escaped so that Markdown displays it literally."""
    config = card.get('config')
    card, name = escape({key: value for key, value in card.items() if key != 'config'}), escape(name)
    lines = [f'# {name}', '', f'{counted(card["n_rows"], "structure")}, {counted(card["n_atoms"], "atom")}.', '']
    lines += [f'Version: {card["version"]}', ''] if card['version'] else []
    lines += [f'Checksum of the content: `{card["checksum"]}`', '']
    lines += [f'- **Warning**: {warning}' for warning in card['warnings']] + [''] * bool(card['warnings'])
    lines += ['## Content', '']
    for title, counts in card['counts'].items():
        if not counts:
            continue
        shown = ', '.join(f'{key} ({n})' for key, n in list(counts.items())[:12])
        omitted = f' and {len(counts) - 12} more' if len(counts) > 12 else ''
        lines.append(f'- {title}: {shown}{omitted}')
    if card['sets']:
        lines += ['', *_set_table(card['sets'], card['n_rows'])]
    lines += ['', '| | min | 5 % | median | 95 % | max |', '|---|---|---|---|---|---|']
    for title, values in card['distributions'].items():
        lines.append(f'| {title} | ' + ' | '.join(f'{value:.4g}' for value in values) + ' |')
    lines += ['', '## Origin', '']
    for origin in card['origins']:
        lines.append(f'- {counted(origin["n_rows"], "row")}: {_facts(origin)}')
        if EXTENDS in origin:
            lines.append(f'    - extends: {_facts(origin[EXTENDS])}')
        same = origin['explored'].items() <= origin['labelled'].items()
        if origin['explored'] and not same:
            lines.append(f'    - explored by: {_facts(origin["explored"])}')
        lines.append(
            f'    - {"explored and " if origin["explored"] and same else ""}labelled by: {_facts(origin["labelled"])}'
        )
    atoms = card['isolated_atom_energies_eV']
    if atoms:
        lines += [
            '',
            'Isolated atoms, eV: ' + ', '.join(f'{symbol} {energy:.6g}' for symbol, energy in atoms.items()) + '.',
        ]
    if card['licences']:
        lines += ['', '## Licences of the weights', '']
    for found in card['licences']:
        of = ' '.join(filter(None, (found['architecture'], found['model'])))
        lines.append(f'- {of}: {found["licence"]}' + (f' (source: {found["source"]})' if found['source'] else ''))
    if card['licences']:
        lines += [
            '',
            'The licence of the weights may apply to the labels of these calculators, because they are derived from '
            'the weights.',
        ]
    lines.append('')
    if config is not None:
        lines += ['## Config', '', *fenced(config, 'yaml'), '']
    return '\n'.join(lines)


def _sets(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    splits = [row.key_value_pairs.get('split') for row in rows]
    return describe_rows(rows, splits) if any(splits) else {}


def _set_table(sets: Mapping[str, Mapping[str, Any]], n_rows: int) -> list[str]:
    lines = [f'| set | {" | ".join(sets)} |', '|---|' + '---|' * len(sets)]
    lines += [f'| {title} | {" | ".join(map(str, numbers))} |' for title, numbers in tabulate_sets(sets).items()]
    n_without = n_rows - sum(found['n'] for found in sets.values())
    return [*lines, *(['', f'Rows without a set: {n_without}.'] if n_without else [])]


def _facts(known: Mapping[str, Any]) -> str:
    return ', '.join(
        f'{key} {value}'
        for key, value in known.items()
        if key != 'n_rows' and value is not None and not isinstance(value, Mapping)
    )


def _pair(key: str) -> Callable[[Row], list[str]]:
    return lambda row: [str(row.key_value_pairs[key])] if key in row.key_value_pairs else ['unknown']


COUNTED: dict[str, Callable[[Row], list[str]]] = {
    'elements': lambda row: sorted(set(row.atoms.get_chemical_symbols())),
    'compositions': lambda row: [row.empirical_formula],
    'kinds': _pair('kind'),
    'entry_labels': lambda row: [str(row.key_value_pairs['label'])] if 'label' in row.key_value_pairs else [],
    'ensembles': _pair('ensemble'),
    'atoms_per_structure': lambda row: [str(len(row.atoms))],
    'periodic_directions': lambda row: [str(int(row.atoms.pbc.sum()))],
}


def _count(rows: Sequence[Row], of: Callable[[Row], list[str]]) -> dict[str, int]:
    counts = Counter(value for row in rows for value in of(row))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _distributions(rows: Sequence[Row]) -> dict[str, Distribution]:
    forces = [np.linalg.norm(row.labels['forces'], axis=1) for row in rows]
    stresses = [row.labels['stress'] for row in rows if 'stress' in row.labels]
    values: dict[str, Any] = {
        'energy_eV_per_atom': [row.labels['energy'] / len(row.atoms) for row in rows],
        'force_eV_A': np.concatenate(forces),
        'largest_force_eV_A': [norms.max() for norms in forces],
        'pressure_GPa': [-stress[:3].mean() / GPa for stress in stresses],
        'periodic_volume_A3_per_atom': [row.atoms.cell.volume / len(row.atoms) for row in rows if row.atoms.pbc.all()],
        'temperature_K': [
            row.key_value_pairs['temperature_K'] for row in rows if 'temperature_K' in row.key_value_pairs
        ],
        'force_disagreement_eV_A': [row.key_value_pairs[LARGEST] for row in rows if LARGEST in row.key_value_pairs],
    }
    return {
        name: Distribution(*(float(x) for x in np.quantile(found, QUANTILES)))
        for name, found in values.items()
        if len(found)
    }


def _warnings(rows: Sequence[Row]) -> list[str]:
    warnings = []
    levels = list(find_levels(rows).values())
    if len(levels) > 1:
        differences = ', and '.join(describe_difference(levels[0], other) for other in levels[1:])
        warnings.append(
            f'the labels have {len(levels)} levels of theory, but a model can be trained on only one: {differences}'
        )
    names = [str(index) for index in range(len(rows))]
    n_duplicates = len(rows) - len(set(join_alike(LabelledStructures.from_rows(rows), names)))
    if n_duplicates:
        warnings.append(f'number of duplicates: {n_duplicates}, including rotated, reordered and repeated structures')
    n_without = sum('stress' not in row.labels and row.atoms.pbc.all() for row in rows)
    if n_without:
        warnings.append(f'number of periodic structures without stress: {n_without}')
    return warnings
