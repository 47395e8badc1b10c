"""Adsorption sites on the upper side of a slab."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms

SiteName = Literal['ontop', 'bridge', 'hollow']


@dataclass(frozen=True)
class Site:
    """An adsorption site: its type, and its position in Å at the height of the surface."""

    name: SiteName
    position: np.ndarray


def find_sites(slab: Atoms, *, distinct: bool, depth_A: float = 0.9) -> list[Site]:
    """Return the adsorption sites on the upper side of a slab: on-top sites, then bridge sites, then hollow sites.

    pymatgen triangulates the surface atoms; the sites are the corners, edge midpoints and centres of the triangles
    (J. H. Montoya, K. A. Persson, npj Comput. Mater. 3, 14, 2017). The number of nearest atoms determines the type.
    """
    from pymatgen.analysis.adsorption import AdsorbateSiteFinder
    from pymatgen.io.ase import AseAtomsAdaptor

    plain = Atoms(slab.symbols, slab.positions, cell=slab.cell, pbc=True)
    finder = AdsorbateSiteFinder(AseAtomsAdaptor.get_structure(plain), selective_dynamics=False, height=depth_A)
    found = finder.find_adsorption_sites(distance=0.0, symm_reduce=0, put_inside=False)['all']
    # Of equivalent sites, the first is kept. The order of the triangulation depends on rounding, so sort the sites.
    found = _sort_positions(np.array(found), plain)
    if distinct:
        found = finder.symm_reduce(found, 0.01)
    surface = plain.positions[[bool(s == 'surface') for s in finder.slab.site_properties['surface_properties']]]
    sites = []
    for position in found:
        vectors = surface - position
        fractions = vectors @ np.linalg.inv(plain.cell.array)
        fractions[:, :2] -= np.round(fractions[:, :2])
        images = (fractions[:, None] + [[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)]).reshape(-1, 3)
        distances = np.sort(np.linalg.norm((images @ plain.cell.array)[:, :2], axis=1))
        number = int(np.sum(distances < distances[0] + 0.2))
        name: SiteName = 'ontop' if distances[0] < 0.3 else 'bridge' if number == 2 else 'hollow'
        sites.append(Site(name, np.asarray(position)))
    order = {'ontop': 0, 'bridge': 1, 'hollow': 2}
    return sorted(sites, key=lambda site: (order[site.name], *np.round(site.position, 3)))


def _sort_positions(positions: np.ndarray, slab: Atoms) -> np.ndarray:
    """Return the positions wrapped into the cell, in an order that does not depend on rounding."""
    cell = slab.cell.array
    fractions = positions @ np.linalg.inv(cell)
    fractions[:, :2] -= np.floor(fractions[:, :2] + 1e-6)
    return np.asarray((fractions @ cell)[np.lexsort(np.round(fractions, 4).T[::-1])])


def repeat_sites(sites: list[Site], slab: Atoms, repeated: Atoms) -> list[Site]:
    """Return the sites of all repeats of a slab."""
    first, second = np.round(repeated.cell.lengths()[:2] / slab.cell.lengths()[:2]).astype(int)
    return [
        Site(site.name, site.position + i * slab.cell.array[0] + j * slab.cell.array[1])
        for i, j in product(range(first), range(second))
        for site in sites
    ]
