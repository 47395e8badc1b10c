"""The shell of a core–shell cluster: its sites, and the elements on them."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.chemistry.elements import Composition, nearest_counts
from aiida_mlip_autopipe.generation.particles.clusters import coordination, surface_layers


def find_shell(atoms: Atoms, crystal: Atoms, n_layers: int) -> np.ndarray:
    """Return which atoms of a cluster belong to its shell, (n,) of bool.

    Parameters
    ----------
    atoms
        The cluster.
    crystal
        The crystal from which the cluster was made.
    n_layers
        Number of atomic layers of the shell.

    Raises
    ------
    AutopipeError
        If the crystal has formal charges, or the shell would leave no core.
    """
    nearest, full = coordination(crystal)
    outer = surface_layers(atoms, n_layers, full, nearest)
    if outer.all() or crystal.has('initial_charges'):
        reason = 'has formal charges' if crystal.has('initial_charges') else 'is thinner than the shell'
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'shell: a cluster of {counted(len(atoms), "atom")} of {crystal.get_chemical_formula(empirical=True)} '
            f'{reason}',
        )
    return outer


def fill_shell(atoms: Atoms, outer: np.ndarray, composition: Composition, rng: np.random.Generator) -> None:
    """Arrange the elements of the shell on its sites at random, in place."""
    counts = nearest_counts(composition, int(outer.sum()))
    symbols = np.repeat(list(counts), list(counts.values()))
    atoms.symbols[outer] = (rng.permutation(symbols) if len(counts) > 1 else symbols).tolist()
