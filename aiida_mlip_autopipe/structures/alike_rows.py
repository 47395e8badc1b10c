"""Find rows that are the same structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mlip_autopipe.structures.alike import Fingerprints, force_quantiles, join_alike
from aiida_mlip_autopipe.structures.row import Row


def join_alike_rows(rows: Sequence[Row], groups: Sequence[str]) -> list[str]:
    """Join the groups of rows that share a structure; see `aiida_mlip_autopipe.structures.alike.join_alike`.

    Parameters
    ----------
    rows
        With energy and forces.
    groups
        The group of each row.

    Returns
    -------
    list of str
        The group of each row.
    """
    fingerprints = Fingerprints(
        formulas=[row.atoms.symbols.formula.reduce()[0].format('hill') for row in rows],
        energies=np.array([row.labels['energy'] / len(row.atoms) for row in rows]),
        volumes=np.array([row.atoms.cell.volume / len(row.atoms) for row in rows]),
        forces=np.array([force_quantiles(row.labels['forces']) for row in rows]),
    )
    return join_alike(fingerprints, groups)
