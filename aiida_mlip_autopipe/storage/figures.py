"""The figures of the report card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from aiida_mlip_autopipe.storage.row import Row

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Structures that enter the radial distribution at most, and how far it goes, Å.
MAX_RADIAL = 200
RADIAL_CUTOFF = 6.0
CHOSEN, OTHER = '#c2410c', '#94a3b8'


def draw_compositions(rows: Sequence[Row]) -> Figure:
    """Draw how many structures there are of each composition, by kind of seed."""
    formulas = [row.atoms.symbols.formula.reduce()[0].format('hill') for row in rows]
    order = [formula for formula, _ in Counter(formulas).most_common(40)]
    bars = []
    for kind, members in _by_kind(rows).items():
        counts = Counter(formulas[place] for place in members)
        bars.append({'type': 'bar', 'name': kind, 'x': order, 'y': [counts[formula] for formula in order]})
    return _figure(bars, 'composition', 'structures', barmode='stack')


def draw_energies(rows: Sequence[Row]) -> Figure:
    """Draw the energy per atom above the lowest of the same composition, by kind of seed."""
    energies = np.array([row.labels['energy'] / len(row.atoms) for row in rows])
    formulas = [row.atoms.symbols.formula.reduce()[0].format('hill') for row in rows]
    lowest = {
        formula: min(e for e, f in zip(energies, formulas, strict=True) if f == formula) for formula in set(formulas)
    }
    excess = energies - np.array([lowest[formula] for formula in formulas])
    return _histograms(rows, lambda place: [excess[place]], 'energy above the lowest of the composition, eV/atom')


def draw_forces(rows: Sequence[Row]) -> Figure:
    """Draw the norms of the forces by kind of seed, counts on a logarithmic axis so that tails are seen."""
    norms = [np.linalg.norm(row.labels['forces'], axis=1) for row in rows]
    return _histograms(rows, lambda place: norms[place], 'force, eV/Å', log=True)


def draw_forces_by_temperature(rows: Sequence[Row]) -> Figure | None:
    """Draw the largest force of each structure against its temperature; None where no temperature is known."""
    known = [row for row in rows if 'temperature_K' in row.key_value_pairs]
    if not known:
        return None
    points = {
        'type': 'scattergl',
        'mode': 'markers',
        'x': [row.key_value_pairs['temperature_K'] for row in known],
        'y': [float(np.linalg.norm(row.labels['forces'], axis=1).max()) for row in known],
        'text': [row.atoms.get_chemical_formula() for row in known],
        'marker': {'color': CHOSEN, 'size': 5},
    }
    return _figure([points], 'temperature, K', 'largest force, eV/Å')


def draw_densities(rows: Sequence[Row]) -> Figure | None:
    """Draw the volume per atom of periodic structures by kind of seed; None where there are none."""
    periodic = [row for row in rows if row.atoms.pbc.all()]
    if not periodic:
        return None
    return _histograms(
        periodic, lambda place: [periodic[place].atoms.cell.volume / len(periodic[place].atoms)], 'Å³/atom'
    )


def draw_radial(rows: Sequence[Row]) -> Figure:
    """Draw, for each pair of elements, how many neighbours of one an atom of the other has at a distance, per Å."""
    from matscipy.neighbours import neighbour_list

    some = [rows[i].atoms for i in np.linspace(0, len(rows) - 1, min(len(rows), MAX_RADIAL)).astype(np.int64)]
    edges = np.linspace(0.0, RADIAL_CUTOFF, 121)
    counts: dict[tuple[int, int], np.ndarray] = {}
    n_atoms: Counter[int] = Counter()
    for atoms in some:
        n_atoms.update(int(z) for z in atoms.numbers)
        first, second, distances = neighbour_list('ijd', atoms, RADIAL_CUTOFF)
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
    return _figure(lines, 'distance, Å', 'neighbours per atom and Å')


def draw_map(assessment: Mapping[str, Any]) -> Figure:
    """Draw two principal components of the descriptors, the chosen frames over all others."""
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
    return _figure(points, 'first principal component', 'second principal component')


def draw_coverage(assessment: Mapping[str, Any]) -> Figure:
    """Draw how far a frame is from the nearest chosen one, at most and on average, after so many choices."""
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
        for what, value, dash in (('largest', 'radius', 'solid'), ('mean', 'mean', 'dot'))
    ]
    figure = _figure(lines, 'structures chosen', 'distance to the nearest chosen')
    figure.update_xaxes(type='log')
    return figure


def _by_kind(rows: Sequence[Row]) -> dict[str, list[int]]:
    kinds: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault(str(row.key_value_pairs.get('seed_kind', 'structures')), []).append(place)
    return dict(sorted(kinds.items()))


def _histograms(rows: Sequence[Row], values: Any, title: str, *, log: bool = False) -> Figure:
    by_kind = {kind: np.concatenate([values(place) for place in places]) for kind, places in _by_kind(rows).items()}
    whole = np.concatenate(list(by_kind.values()))
    edges = np.histogram_bin_edges(whole, 60)
    bars = [
        {
            'type': 'bar',
            'name': kind,
            'x': ((edges[1:] + edges[:-1]) / 2).tolist(),
            'y': np.histogram(found, edges)[0].tolist(),
        }
        for kind, found in by_kind.items()
    ]
    figure = _figure(bars, title, 'number', barmode='stack', bargap=0)
    if log:
        figure.update_yaxes(type='log')
    return figure


def _figure(traces: list[dict[str, Any]], x: str, y: str, **layout: Any) -> Figure:
    from plotly.graph_objects import Figure

    figure = Figure(traces)
    figure.update_layout(
        template='plotly_white',
        height=380,
        margin={'l': 60, 'r': 20, 't': 20, 'b': 50},
        xaxis_title=x,
        yaxis_title=y,
        **layout,
    )
    return figure
