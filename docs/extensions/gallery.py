"""Sphinx extension: renders a seed of each kind of system from its minimal example config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import yaml
from ase import Atoms
from pydantic import TypeAdapter
from sphinx.application import Sphinx

from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

CUTOFF_A = 5.0
# Two angles from above in ASE's notation; slabs and boundaries are seen from the side.
ROTATION = '-80x,15y,5z'


def write_gallery(app: Sphinx) -> None:
    """Write a picture of each kind, unless it is newer than its config."""
    matplotlib.use('Agg')
    folder = Path(app.srcdir) / 'reference' / 'generated' / 'gallery'
    folder.mkdir(parents=True, exist_ok=True)
    adapter: TypeAdapter[Any] = TypeAdapter(tuple[GENERATORS.settings_union(), ...])  # type: ignore[misc]
    for kind in GENERATORS:
        config = Path(app.srcdir).parent / 'workchains' / 'configs' / f'{kind}_minimal.yaml'
        picture = folder / f'{kind}.png'
        if not config.is_file() or (picture.is_file() and picture.stat().st_mtime > config.stat().st_mtime):
            continue
        entries = adapter.validate_python(
            yaml.safe_load(config.read_text(encoding='utf8'))['generation'], context={'folder': config.parent}
        )
        (seed, *_) = generate_seeds(entries, random_seed=1, cutoff_A=CUTOFF_A, stop=3).seeds
        _draw(seed.atoms, picture)


def _draw(atoms: Atoms, path: Path) -> None:
    import matplotlib.pyplot as plt
    from ase.visualize.plot import plot_atoms

    figure, axes = plt.subplots(figsize=(4, 4))
    plot_atoms(atoms, axes, rotation=ROTATION, radii=0.6)
    axes.set_axis_off()
    figure.savefig(path, dpi=110, bbox_inches='tight', transparent=True)
    plt.close(figure)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect('builder-inited', write_gallery)
    return {'parallel_read_safe': True}
