"""Figures of the report card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from aiida_mlip_autopipe.reporting.label_errors import ComparedLabels
from aiida_mlip_autopipe.reporting.temperatures import divide_temperatures
from aiida_mlip_autopipe.structures.densities import DALTON_PER_A3
from aiida_mlip_autopipe.structures.excess_energy import excess_energies
from aiida_mlip_autopipe.structures.rows.row import Row

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Maximum number of structures in the radial distribution, and its maximum distance in Å.
MAX_RADIAL = 200
RADIAL_CUTOFF = 6.0
# Maximum number of components in the parity of the forces.
MAX_COMPONENTS = 10_000
EXCESS = 'energy above the minimum, eV/atom'
CHOSEN, OTHER = '#c2410c', '#94a3b8'


def draw_compositions(rows: Sequence[Row]) -> Figure:
    """Draw the number of structures of each composition by kind of seed."""
    formulas = [row.empirical_formula for row in rows]
    order = [formula for formula, _ in Counter(formulas).most_common(40)]
    bars = []
    for kind, members in _by_kind(rows).items():
        counts = Counter(formulas[index] for index in members)
        bars.append({'type': 'bar', 'name': kind, 'x': order, 'y': [counts[formula] for formula in order]})
    return make_figure(bars, 'composition', 'number of structures', barmode='stack')


def draw_energies(rows: Sequence[Row]) -> Figure:
    """Draw the energies per atom above the minimum for the composition, by kind of seed."""
    excess = _excess_energies(rows)
    return _histograms(rows, lambda index: excess[index : index + 1], EXCESS, log=True)


def draw_forces(rows: Sequence[Row]) -> Figure:
    """Draw the magnitudes of the forces by kind of seed. The axis of the counts is logarithmic to show the tails."""
    norms = [np.linalg.norm(row.labels['forces'], axis=1) for row in rows]
    return _histograms(rows, lambda index: norms[index], 'force, eV/Å', log=True)


def draw_energies_by_temperature(rows: Sequence[Row]) -> Figure | None:
    """Draw the energies above the minimum for the composition by temperature; None if no temperature is known."""
    return _boxes(rows, _excess_energies(rows), EXCESS)


def draw_forces_by_temperature(rows: Sequence[Row]) -> Figure | None:
    """Draw the maximum force of each structure by temperature; None if no temperature is known."""
    largest = np.array([np.linalg.norm(row.labels['forces'], axis=1).max() for row in rows])
    return _boxes(rows, largest, 'maximum force, eV/Å')


def draw_cells(rows: Sequence[Row]) -> Figure | None:
    """Draw the lengths of the periodic cell vectors by kind of seed; None if no structure is periodic."""
    periodic = [row for row in rows if row.atoms.pbc.any()]
    if not periodic:
        return None
    return _histograms(
        periodic,
        lambda index: periodic[index].atoms.cell.lengths()[periodic[index].atoms.pbc],
        'length of a cell vector, Å',
    )


def draw_angles(rows: Sequence[Row]) -> Figure | None:
    """Draw the angles of cells that are periodic in all directions by kind of seed; None if there are none."""
    periodic = [row for row in rows if row.atoms.pbc.all()]
    if not periodic:
        return None
    return _histograms(periodic, lambda index: periodic[index].atoms.cell.angles(), 'cell angle, °')


def draw_volumes(rows: Sequence[Row]) -> Figure | None:
    """Draw the volume per atom of periodic structures by kind of seed; None if there are none."""
    periodic = [row for row in rows if row.atoms.pbc.all()]
    if not periodic:
        return None
    return _histograms(
        periodic, lambda index: [periodic[index].atoms.cell.volume / len(periodic[index].atoms)], 'volume, Å³/atom'
    )


def draw_densities(rows: Sequence[Row]) -> Figure | None:
    """Draw the densities of periodic structures by kind of seed; None if there are none."""
    periodic = [row.atoms for row in rows if row.atoms.pbc.all()]
    if not periodic:
        return None
    densities = [atoms.get_masses().sum() / atoms.cell.volume * DALTON_PER_A3 for atoms in periodic]
    return _histograms([row for row in rows if row.atoms.pbc.all()], lambda index: [densities[index]], 'density, g/cm³')


def draw_radial(rows: Sequence[Row]) -> Figure:
    """Draw, for each pair of elements, the number of neighbours per atom per Å as a function of distance."""
    from matscipy.neighbours import neighbour_list

    sample = [rows[i].atoms for i in np.linspace(0, len(rows) - 1, min(len(rows), MAX_RADIAL)).astype(np.int64)]
    edges = np.linspace(0.0, RADIAL_CUTOFF, 121)
    counts: dict[tuple[int, int], np.ndarray] = {}
    n_atoms: Counter[int] = Counter()
    for atoms in sample:
        n_atoms.update(int(z) for z in atoms.numbers)
        # The search requires a cell, but a molecule may have none.
        cell = atoms.cell.complete().array
        first, second, distances = neighbour_list(
            'ijd', positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=RADIAL_CUTOFF
        )
        for pair in combinations_with_replacement(sorted(set(atoms.numbers.tolist())), 2):
            found = (atoms.numbers[first] == pair[0]) & (atoms.numbers[second] == pair[1])
            counts[pair] = counts.get(pair, 0) + np.histogram(distances[found], edges)[0]
    middles = (edges[1:] + edges[:-1]) / 2
    lines = [
        {
            'type': 'scatter',
            'mode': 'lines',
            'name': f'{chemical_symbols[a]}–{chemical_symbols[b]}',
            'x': middles.tolist(),
            'y': (count / n_atoms[a] / (edges[1] - edges[0])).tolist(),
        }
        for (a, b), count in sorted(counts.items())
    ]
    return make_figure(lines, 'distance, Å', 'neighbours per atom per Å')


def draw_energy_parity(labels: ComparedLabels) -> Figure:
    """Draw energies against the reference energies by kind of seed, with an offset per element removed from both."""
    compared = labels.energies + labels.energy_errors
    names = np.array([_name(row, place) for row, place in zip(labels.rows, labels.places, strict=True)])
    points = {kind: np.array(members) for kind, members in _by_kind(labels.rows).items()}
    return _parity(
        {kind: (labels.energies[members], compared[members]) for kind, members in points.items()},
        {kind: names[members].tolist() for kind, members in points.items()},
        labels,
        'energy relative to a fit per element, eV/atom',
    )


def draw_force_parity(labels: ComparedLabels) -> Figure:
    """Draw the components of the forces against the reference by kind of seed, an evenly spaced sample of them."""
    n_components = sum(3 * len(row.atoms) for row in labels.rows)
    spacing = -(-n_components // MAX_COMPONENTS)
    points, names = {}, {}
    for kind, members in _by_kind(labels.rows).items():
        pair = [
            np.concatenate([side[index].results['forces'].ravel() for index in members])[::spacing]
            for side in (labels.reference, labels.compared)
        ]
        owners = np.repeat(members, [3 * len(labels.rows[index].atoms) for index in members])[::spacing]
        points[kind] = (pair[0], pair[1])
        names[kind] = [_name(labels.rows[index], labels.places[index]) for index in owners.tolist()]
    return _parity(points, names, labels, 'component of a force, eV/Å')


def _parity(
    points: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: Mapping[str, list[str]],
    labels: ComparedLabels,
    title: str,
) -> Figure:
    """Draw values against reference values, with the diagonal on which both are equal."""
    together = np.concatenate([value for pair in points.values() for value in pair])
    ends = [float(together.min()), float(together.max())]
    diagonal = {'type': 'scatter', 'mode': 'lines', 'x': ends, 'y': ends, 'showlegend': False, 'hoverinfo': 'skip'}
    traces: list[dict[str, Any]] = [diagonal | {'line': {'color': OTHER, 'width': 1}}]
    for kind, (x, y) in points.items():
        marker = {'size': 5, 'opacity': 0.6}
        place = {'x': x.tolist(), 'y': y.tolist(), 'text': names[kind]}
        traces.append({'type': 'scatter', 'mode': 'markers', 'name': kind, 'marker': marker, **place})
    axes = (labels.reference[0].level.name, labels.compared[0].level.name)
    return make_figure(traces, *(f'{name}: {title}' for name in axes), showlegend=True, height=520)


def _name(row: Row, place: int) -> str:
    return f'row {place if row.id is None else row.id}, {row.atoms.symbols.formula.format("hill")}'


def draw_map(assessment: Mapping[str, Any]) -> Figure:
    """Draw the frames by the first two principal components of their descriptors, with the chosen frames on top."""
    layers = (('candidates', OTHER, 4), ('chosen', CHOSEN, 6))
    points = [
        {
            'type': 'scattergl',
            'mode': 'markers',
            'name': name,
            'x': assessment['map'][name]['x'],
            'y': assessment['map'][name]['y'],
            'text': assessment['map'][name]['name'],
            'hoverinfo': 'text',
            'marker': {'color': color, 'size': size},
        }
        for name, color, size in layers
    ]
    return make_figure(points, 'first principal component', 'second principal component')


def draw_coverage(assessment: Mapping[str, Any]) -> Figure:
    """Draw the maximum and mean distance to the nearest chosen frame as a function of the number of chosen frames."""
    lines = [
        {
            'type': 'scatter',
            'mode': 'lines+markers',
            'name': f'{who}, {what}',
            'x': assessment[curve]['n'],
            'y': assessment[curve][value],
            'line': {'color': color, 'dash': dash},
        }
        for who, curve, color in (('this selection', 'curve', CHOSEN), ('random', 'random_curve', OTHER))
        for what, value, dash in (('maximum', 'radius', 'solid'), ('mean', 'mean', 'dot'))
    ]
    figure = make_figure(lines, 'number of chosen structures', 'distance to the nearest chosen structure')
    figure.update_xaxes(type='log')
    return figure


def _by_kind(rows: Sequence[Row]) -> dict[str, list[int]]:
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(str(row.key_value_pairs.get('kind', 'structures')), []).append(index)
    return dict(sorted(kinds.items()))


def _excess_energies(rows: Sequence[Row]) -> np.ndarray:
    energies = np.array([row.labels['energy'] / len(row.atoms) for row in rows])
    return excess_energies(energies, [row.empirical_formula for row in rows])


def _boxes(rows: Sequence[Row], values: np.ndarray, title: str) -> Figure | None:
    """Draw values by temperature and kind of seed: boxes from the first to the third quartile, outliers as points."""
    intervals, order = divide_temperatures(rows)
    if not order:
        return None
    boxes = []
    for kind, indices in _by_kind(rows).items():
        known = [index for index in indices if intervals[index] is not None]
        found = {'x': [intervals[index] for index in known], 'y': values[known].tolist()}
        boxes.append({'type': 'box', 'name': kind, 'boxpoints': 'outliers', **found})
    figure = make_figure(boxes, 'temperature, K', title, boxmode='group')
    figure.update_xaxes(type='category', categoryorder='array', categoryarray=order)
    return figure


def _histograms(rows: Sequence[Row], values: Any, title: str, *, log: bool = False) -> Figure:
    by_kind = {kind: np.concatenate([values(index) for index in indices]) for kind, indices in _by_kind(rows).items()}
    combined = np.concatenate(list(by_kind.values()))
    low, high = float(combined.min()), float(combined.max())
    # Values that differ only by rounding errors have no room for bins.
    margin = 0.5 if high - low < 1e-6 * max(1.0, abs(low), abs(high)) else 0.0
    edges = np.linspace(low - margin, high + margin, 61)
    bars = [
        {
            'type': 'bar',
            'name': kind,
            'x': ((edges[1:] + edges[:-1]) / 2).tolist(),
            'y': np.histogram(found, edges)[0].tolist(),
        }
        for kind, found in by_kind.items()
    ]
    figure = make_figure(bars, title, 'count', barmode='stack', bargap=0)
    if log:
        figure.update_yaxes(type='log')
    return figure


def make_figure(traces: list[dict[str, Any]], x: str, y: str, **layout: Any) -> Figure:
    """Return a figure in the style of the card, with titles of its axes."""
    from plotly.graph_objects import Figure

    # Not set by `update_layout`, since a new figure would first copy its default template.
    layout = {
        'template': 'plotly_white',
        'height': 380,
        'paper_bgcolor': 'rgba(255, 255, 255, 0)',
        'plot_bgcolor': 'rgba(255, 255, 255, 0)',
        'margin': {'l': 60, 'r': 20, 't': 20, 'b': 50},
        'xaxis_title': x,
        'yaxis_title': y,
        **layout,
    }
    return Figure(traces, layout)
