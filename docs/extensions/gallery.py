"""Sphinx extension that draws seeds of each kind of system from its example configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from ase import Atoms
from ase.data import covalent_radii
from pydantic import TypeAdapter
from sphinx.application import Sphinx

from aiida_mlip_autopipe.generation import GENERATORS, complete_elements, generate_seeds
from aiida_mlip_autopipe.structures.voids import find_voids

CUTOFF_A = 5.0
# More pictures of a kind: the kind, and the label of the entry in its full example config.
MORE = {
    'molecular_crystal': ('molecular', 'benzene on centres of inversion'),
    'liquid_interface': ('interface', 'water between slabs of copper'),
}
# In ASE's notation. Most are viewed slightly from above, slabs from the side, grain boundaries along the tilt axis.
ROTATION = '-75x,20y,5z'
ROTATIONS = {
    'surface': '-88x,8y',
    'adsorption': '-88x,8y',
    'layered': '-82x,12y',
    'interface': '-88x,8y',
    'liquid_interface': '-88x,8y',
    'grain_boundary': '-90x,-90y',
    'stacking_fault': '-90x,-90y',
}
NETWORKS = ('covalent', 'structures', 'formula', 'molecular')
MIN_ATOMS = 20  # smaller cells are repeated
BOND_FACTOR = 1.2  # maximum length of a bond, in units of the sum of the covalent radii


def write_gallery(app: Sphinx) -> None:
    """Draw the pictures of each kind. Skip pictures that are newer than their config."""
    matplotlib.use('Agg')
    folder = Path(app.srcdir) / 'reference' / 'generated' / 'gallery'
    folder.mkdir(parents=True, exist_ok=True)
    adapter: TypeAdapter[Any] = TypeAdapter(tuple[GENERATORS.settings_union(), ...])  # type: ignore[misc]
    pictures = {kind: (kind, 'minimal', None) for kind in GENERATORS}
    pictures |= {name: (kind, 'full', label) for name, (kind, label) in MORE.items()}
    for name, (kind, size, label) in pictures.items():
        config = Path(app.srcdir).parent / 'workchains' / 'configs' / f'{kind}_{size}.yaml'
        picture = folder / f'{name}.png'
        if not config.is_file() or (picture.is_file() and picture.stat().st_mtime > config.stat().st_mtime):
            continue
        entries = adapter.validate_python(
            yaml.safe_load(config.read_text(encoding='utf8'))['generation'], context={'folder': config.parent}
        )
        chosen = complete_elements([entry for entry in entries if label is None or entry.label == label])
        seeds = generate_seeds(chosen, random_seed=1, cutoff_A=CUTOFF_A, stop=3).seeds
        seed = next(seed for seed in seeds if seed.record['kind'] == kind)
        _draw(name, kind, seed.atoms, picture)


def _draw(name: str, kind: str, atoms: Atoms, path: Path) -> None:
    """Draw a structure: networks with bonds, a vacancy as a red sphere in a section of the crystal."""
    import matplotlib.pyplot as plt
    from ase.data.colors import jmol_colors
    from ase.visualize.plot import plot_atoms

    if len(atoms) < MIN_ATOMS and atoms.pbc.all():
        atoms = atoms.repeat(2)
    colors = jmol_colors[atoms.numbers]
    if kind == 'defect':
        vacancy = atoms.cell.array.sum(axis=0) / 2
        atoms.positions += vacancy - find_voids(atoms)[0]
        atoms.wrap()
        behind = atoms[atoms.positions[:, 1] > vacancy[1] - 1.0]
        atoms, colors = behind + Atoms('X', [vacancy]), np.vstack([jmol_colors[behind.numbers], (0.9, 0.1, 0.1)])
    radii = (0.45 if kind in NETWORKS else 0.85) * covalent_radii[atoms.numbers]
    if kind == 'defect':
        radii[-1] = 0.9
    if kind in NETWORKS:
        atoms, colors, radii = _with_bonds(atoms, colors, radii)
    figure, axes = plt.subplots(figsize=(5, 5))
    plot_atoms(atoms, axes, rotation=ROTATIONS.get(name, ROTATION), radii=radii, colors=colors)
    axes.set_axis_off()
    figure.savefig(path, dpi=110, bbox_inches='tight', facecolor='white')
    plt.close(figure)


def _with_bonds(atoms: Atoms, colors: np.ndarray, radii: np.ndarray) -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Return the structure with each bond as a row of small grey spheres. ASE sorts them by depth like atoms."""
    limit = BOND_FACTOR * (covalent_radii[atoms.numbers][:, None] + covalent_radii[atoms.numbers])
    vectors = atoms.positions[None] - atoms.positions[:, None]
    first, second = np.nonzero(np.triu(np.linalg.norm(vectors, axis=2) < limit, 1))
    steps = np.linspace(0.15, 0.85, 20)[:, None]
    beads = [atoms.positions[i] + steps * vectors[i, j] for i, j in zip(first, second, strict=True)]
    if not beads:
        return atoms, colors, radii
    rows = np.concatenate(beads)
    joined = atoms + Atoms(['X'] * len(rows), rows)
    grey = np.full((len(rows), 3), 0.6)
    return joined, np.vstack([colors, grey]), np.concatenate([radii, np.full(len(rows), 0.06)])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect('builder-inited', write_gallery)
    return {'parallel_read_safe': True}
