"""Slabs that support a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.base import Generator, Parent, Requirements
from aiida_mlip_autopipe.generation.nested import Nested, draw_wide_parent
from aiida_mlip_autopipe.generation.particles.clusters import largest_facet_down
from aiida_mlip_autopipe.generation.particles.molecules import lower_onto, rotate
from aiida_mlip_autopipe.generation.surfaces.adsorption_sites import Site
from aiida_mlip_autopipe.structures.cells import perpendicular_widths
from aiida_mlip_autopipe.structures.vacuum import is_slab


class SupportSettings(Settings):
    """A slab that supports a cluster."""

    of: Nested
    """The entry that provides the slab, such as {kind: surface, of: …, miller_indices: [[1, 0, 0]]}."""
    orientation: Literal['facet', 'random'] = 'facet'
    """Lay the cluster on its largest facet, or rotate it at random. The rotation about the normal is always random."""
    separation_A: float = Field(default=6.0, ge=3)
    """Minimum distance in Å between the cluster and its images in the plane. The slab is repeated accordingly."""
    distance_factor: PositiveFloat = 1.0
    """Distance between touching atoms of the cluster and the slab, divided by the sum of their covalent radii."""

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived, including that of the inner entry."""
        return {**self.model_dump(mode='json', exclude_defaults=True), 'of': self.of.stream_content()}


def place_on(
    slabs: Generator,
    settings: SupportSettings,
    cluster: Atoms,
    index: int,
    rng: np.random.Generator,
    requirements: Requirements,
) -> tuple[Parent, dict[str, Any]]:
    """Return a slab with a cluster at a random position on its upper side, and the record of the position.

    The cluster is lowered until the distance of one pair of atoms is `distance_factor` times the sum of their covalent
    radii.

    Raises
    ------
    AutopipeError
        If the slab has no vacuum, or if no slab up to the maximum number of atoms is wide enough.
    """
    rested = largest_facet_down(cluster) if settings.orientation == 'facet' else rotate(cluster, 'random', rng)
    angle = float(rng.uniform(0, 360))
    rested.rotate(angle, 'z')
    plane = rested.positions[:, :2]
    needed_A = float(np.linalg.norm(plane[:, None] - plane, axis=2).max()) + settings.separation_A
    wide = replace(requirements, min_width_A=max(requirements.min_width_A, needed_A))
    host = draw_wide_parent(slabs, index, rng, wide)
    slab = host.atoms
    if not slab.pbc.all() or not is_slab(slab):
        raise AutopipeError(
            Code.HOST_UNSUITABLE, f'support: {slab.get_chemical_formula()} is not a slab with vacuum along z'
        )
    widths = perpendicular_widths(slab)[:2]
    if widths.min() < needed_A - 1e-6:
        n_atoms = len(slab) * int(np.prod(np.ceil(needed_A / widths)))
        raise AutopipeError(
            Code.CELL_TOO_SMALL,
            f'support: the cluster needs {needed_A:.1f} Å; the slab is {widths.min():.1f} Å wide; '
            f'set validation.max_atoms: {n_atoms} so that the slab can be repeated',
        )
    position = np.append(rng.random(2), 0.0) @ slab.cell.array
    lowest = int(np.argmin(np.round(rested.positions[:, 2], 6)))  # the first of the atoms of a facet
    lower_onto(rested, lowest, slab, Site('hollow', position), settings.distance_factor)
    atoms = slab.copy()
    if cluster.has('initial_charges') and not atoms.has('initial_charges'):
        atoms.set_initial_charges(np.zeros(len(atoms)))
    atoms += rested
    # The cluster reaches into the vacuum, so the cell grows to keep the vacuum as thick as before.
    atoms.cell[2, 2] += max(0.0, float(rested.positions[:, 2].max() - slab.positions[:, 2].max()))
    record = {'orientation': settings.orientation, 'angle_deg': angle, 'site_A': position[:2].tolist()}
    return replace(host, atoms=atoms, repeatable=(False, False, False), form='slab'), record
