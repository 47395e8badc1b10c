"""Draw the structure that belongs to the point under the mouse on the map of a report card."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors

# Coordinates are stored as multiples of this length in Å, with two bytes each, so a cell can be up to 327 Å long.
RESOLUTION_A = 0.01
VIEW_ID = 'structure-under-the-mouse'


def render_structure_view(structures: Mapping[str, Sequence[Atoms]], map_id: str) -> str:
    """Return HTML that draws a structure when the mouse is over its point on the map.

    On the page, plotly.js and the map must precede this HTML.

    Parameters
    ----------
    structures
        The structures of the points in each layer of the map, by the name of the layer.
    map_id
        Id of the HTML element of the map.
    """
    numbers = sorted({int(z) for layer in structures.values() for atoms in layer for z in np.unique(atoms.numbers)})
    facts = {
        'map': map_id,
        'view': VIEW_ID,
        'resolution': RESOLUTION_A,
        'elements': {
            z: {
                'symbol': chemical_symbols[z],
                'color': '#' + ''.join(f'{round(255 * channel):02x}' for channel in jmol_colors[z]),
                'radius': round(float(covalent_radii[z]), 2),
            }
            for z in numbers
        },
        'layers': {name: [encode_structure(atoms) for atoms in layer] for name, layer in structures.items()},
    }
    script = resources.files(__package__).joinpath('structure_view.js').read_text(encoding='utf-8')
    return f'<div id="{VIEW_ID}"></div><script>({script})({json.dumps(facts)})</script>'


def encode_structure(atoms: Atoms) -> str:
    """Encode a structure as base64 text of int16 values: the cell (9), then the atomic number, x, y and z of each atom.

    Lengths are in units of `RESOLUTION_A`. Values outside the range of int16 are clipped.
    """
    lengths = np.concatenate([atoms.cell.array.ravel(), atoms.positions.ravel()]) / RESOLUTION_A
    integers = np.clip(np.rint(lengths), -32768, 32767).astype('<i2')
    sites = np.column_stack([atoms.numbers.astype('<i2'), integers[9:].reshape(-1, 3)])
    return base64.b64encode(np.concatenate([integers[:9], sites.ravel()]).tobytes()).decode('ascii')
