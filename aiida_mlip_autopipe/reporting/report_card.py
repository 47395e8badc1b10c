"""The report card: an HTML page with figures that show the quality of a dataset, and its numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.reporting import figures
from aiida_mlip_autopipe.reporting.card import describe_dataset
from aiida_mlip_autopipe.reporting.label_errors import ComparedLabels, describe_errors, measure_cost, pair_labels
from aiida_mlip_autopipe.reporting.label_section import render_cost, render_label_errors
from aiida_mlip_autopipe.reporting.rounds_section import draw_rounds, render_rounds
from aiida_mlip_autopipe.reporting.structure_view import render_structure_view
from aiida_mlip_autopipe.reporting.tables import render_table
from aiida_mlip_autopipe.structures.dft_cost import cubed_atoms
from aiida_mlip_autopipe.structures.rows.contents import tabulate_sets
from aiida_mlip_autopipe.structures.rows.row import Row

if TYPE_CHECKING:
    from ase import Atoms
    from plotly.graph_objects import Figure

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1e293b; }
.table { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; }
td, th { padding: .2rem .7rem; white-space: nowrap; text-align: right; border-bottom: 1px solid #e2e8f0; }
th { white-space: pre; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; } .warning { background: #fef3c7; padding: .5rem 1rem; }
ul.warning { padding-left: 2.2rem; }
@media (prefers-color-scheme: dark) {
  body { background: #0f172a; color: #e2e8f0; } td, th { border-color: #334155; } .warning { background: #422006; }
  .plotly-graph-div { filter: invert(1) hue-rotate(180deg) brightness(1.3); }
}
@media (max-width: 50rem) { td, th { padding: .2rem .35rem; } }
"""

MAP = 'Map'

# Descriptions of the scores of an assessment.
SCORES = {
    'vendi': 'effective number of different structures (Vendi score)',
    'occupied': 'fraction of the occupied PCA bins that contain a chosen structure (coverage score)',
    'nearest': 'median distance to the nearest other chosen structure',
    'entropy': 'entropy of the environments, nats (QUESTS)',
    'diversity': 'diversity of the environments, nats (QUESTS)',
    'force_95_eV_A': '95th percentile of the maximum force in a structure, eV/Å',
    'atoms_cubed': 'sum of N³ over the structures of N atoms (proportional to the cost of DFT)',
}


def write_report_card(
    path: Path,
    rows: Sequence[Row],
    *,
    assessment: Mapping[str, Any] | None = None,
    structures: Mapping[str, Sequence[Atoms]] | None = None,
    campaign: Mapping[str, Mapping[str, Any]] | None = None,
    rounds: Mapping[str, Any] | None = None,
    title: str | None = None,
    warnings: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write the report card to a path that ends in ``.html``, and its numbers to a ``.json`` file next to it.

    The HTML file is self-contained, so it needs no network connection.

    Parameters
    ----------
    path
        For example ``cu_au.html``.
    rows
        The dataset.
    assessment
        The result of `assess_selection`, if the explored frames are available. With it, the card contains a map, the
        coverage and the scores, and compares the selection with a random one.
    structures
        The structures of the points in the layers ``candidates`` and ``chosen`` of the map. With them, the card draws
        the structure of the point under the mouse.
    campaign
        Tables about the campaign by title, such as the number of rejected seeds for each reason. Values are numbers or
        text.
    rounds
        The rounds of the campaign, from `read_rounds_report` in `campaigns.rounds`.
    title
        Title of the page; by default, the name of the file.
    warnings
        Warnings to show in addition to those about the rows.
    overwrite
        Whether to replace existing files.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.html``, a file exists, the dataset has no rows, or a row has no labels.
    """
    refuse_report_file(path, overwrite)
    numbers: dict[str, Any] = {'dataset': describe_dataset(rows), 'dft_cost': estimate_dft_cost(rows)}
    numbers['dataset']['warnings'] += warnings
    labels = pair_labels(rows)
    if labels is not None:
        numbers['label_errors'] = describe_errors(labels)
    if (cost := measure_cost(rows)) is not None:
        numbers['label_cost'] = cost
    if assessment is not None:
        numbers['assessment'] = dict(assessment)
    if campaign is not None:
        numbers['campaign'] = {title: dict(table) for title, table in campaign.items()}
    drawn = _draw(rows, labels, assessment)
    if rounds is not None:
        numbers['rounds'] = dict(rounds)
        drawn = draw_rounds(rounds) | drawn
    page = render_report_card(numbers, drawn, title or path.stem, structures)
    with (
        atomic_write(path, overwrite=overwrite) as html,
        atomic_write(path.with_suffix('.json'), overwrite=overwrite) as data,
    ):
        html.write_text(page, encoding='utf-8')
        data.write_text(json.dumps(numbers, indent=1, allow_nan=False) + '\n', encoding='utf-8')


def refuse_report_file(path: Path, overwrite: bool) -> None:
    """Refuse the file of a report card if it cannot be written, before other work is done.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.html``, or if `refuse_existing` refuses the file or the ``.json`` file next to it.
    """
    if path.suffix != '.html':
        raise AutopipeError(Code.FILE_SUFFIX, f'the file of a report card must end in .html; got {path}')
    for file in (path, path.with_suffix('.json')):
        refuse_existing(file, overwrite)


def estimate_dft_cost(rows: Sequence[Row]) -> dict[str, float]:
    """Return the quantities that determine the cost of labelling by DFT.

    Returns
    -------
    dict
        ``atoms``, ``electrons`` (including core electrons) and ``atoms_cubed`` (see `cubed_atoms`).
    """
    return {
        'atoms': float(sum(len(row.atoms) for row in rows)),
        'electrons': float(sum(row.atoms.numbers.sum() for row in rows)),
        'atoms_cubed': cubed_atoms(len(row.atoms) for row in rows),
    }


def render_report_card(
    numbers: Mapping[str, Any],
    drawn: Mapping[str, Figure],
    name: str,
    structures: Mapping[str, Sequence[Atoms]] | None = None,
) -> str:
    """Return the HTML of the report card."""
    from plotly.offline import get_plotlyjs

    dataset = numbers['dataset']
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<title>{escape(name)}: report card</title><style>{STYLE}</style>',
        f'<script>{get_plotlyjs()}</script></head><body><h1>{escape(name)}</h1>',
        f'<p>{counted(dataset["n_rows"], "structure")}, {counted(dataset["n_atoms"], "atom")}. Labels: ',
        escape(', '.join(dataset['counts']['level of theory'])) + '.</p>',
        *(f'<p class="warning">{escape(warning)}</p>' for warning in dataset['warnings']),
        *(render_rounds(numbers['rounds']) if 'rounds' in numbers else []),
        '<h2>Distributions</h2>',
        render_table(['', 'min', '5 %', 'median', '95 %', 'max'], dataset['distributions']),
    ]
    if dataset['sets']:
        parts += ['<h2>Sets</h2>', render_table(['', *dataset['sets']], tabulate_sets(dataset['sets']))]
    if 'assessment' in numbers:
        parts += _compare(numbers['assessment'])
    cost = numbers['dft_cost']
    parts += [
        '<h2>Cost of labelling by DFT</h2><p>',
        f'{counted(round(cost["atoms"]), "atom")}, {counted(round(cost["electrons"]), "electron")}. '
        'For large cells, the cost is proportional to '
        f'the sum of N³ over the structures of N atoms, which is {cost["atoms_cubed"]:.3g}.</p>',
    ]
    if 'label_cost' in numbers:
        parts.append(render_cost(numbers['label_cost']))
    for title, table in numbers.get('campaign', {}).items():
        parts += [f'<h2>{escape(title)}</h2>', render_table(['', ''], {name: [value] for name, value in table.items()})]
    if 'label_errors' in numbers:
        parts += render_label_errors(numbers['label_errors'], dataset['n_rows'])
    for title, figure in drawn.items():
        parts.append(f'<h2>{escape(title)}</h2>')
        figure_id = f'figure-{len(parts)}'
        parts.append(figure.to_html(full_html=False, include_plotlyjs=False, div_id=figure_id))
        if title == MAP and structures is not None:
            parts.append(render_structure_view(structures, figure_id))
    return '\n'.join([*parts, '</body></html>\n'])


def _compare(assessment: Mapping[str, Any]) -> list[str]:
    scores = {
        meaning: [assessment[which][score] for which in ('scores', 'random_scores')]
        for score, meaning in SCORES.items()
    }
    for value, meaning in (('radius', 'maximum'), ('mean', 'mean')):
        scores[f'{meaning} distance from an explored frame to the nearest chosen frame'] = [
            assessment[curve][value][-1] for curve in ('curve', 'random_curve')
        ]
    return [
        '<h2>Comparison with a random selection of the same size</h2>',
        f'<p>{_count_candidates(assessment)}.</p>',
        render_table(['', 'this selection', 'random'], scores),
    ]


def _count_candidates(assessment: Mapping[str, Any]) -> str:
    text = counted(assessment['n_candidates'], 'candidate frame')
    if assessment['n_compared'] == assessment['n_candidates']:
        return text
    return f'{text}, of which {assessment["n_compared"]} random ones are compared with the selections and shown'


def _draw(
    rows: Sequence[Row], labels: ComparedLabels | None, assessment: Mapping[str, Any] | None
) -> dict[str, Figure]:
    drawn = {
        'Compositions': figures.draw_compositions(rows),
        'Cell vectors': figures.draw_cells(rows),
        'Cell angles': figures.draw_angles(rows),
        'Volumes': figures.draw_volumes(rows),
        'Densities': figures.draw_densities(rows),
        'Energies': figures.draw_energies(rows),
        'Energies by temperature': figures.draw_energies_by_temperature(rows),
        'Forces': figures.draw_forces(rows),
        'Forces by temperature': figures.draw_forces_by_temperature(rows),
        'Neighbours': figures.draw_radial(rows),
    }
    if assessment is not None:
        coverage = {MAP: figures.draw_map(assessment), 'Coverage': figures.draw_coverage(assessment)}
        drawn = coverage | drawn
    if labels is not None:
        parity = {
            'Parity of energies': figures.draw_energy_parity(labels),
            'Parity of forces': figures.draw_force_parity(labels),
        }
        drawn = parity | drawn
    return {title: figure for title, figure in drawn.items() if figure is not None}
