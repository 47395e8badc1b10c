"""One entry of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.provenance import Provenance, searchable

# Where a row's data holds the energies of single atoms, eV by symbol, of the elements of its seed.
ISOLATED_ATOMS = 'isolated_atoms'


@dataclass(frozen=True, eq=False)
class Row:
    """A labelled structure and where it came from.

    Attributes
    ----------
    atoms
        The structure with energy (eV), forces (eV/Å) and, where it is periodic, stress (eV/Å³, ASE's sign and Voigt
        order) as calculator results. Constraints, tags and magnetic moments are part of it.
    key_value_pairs
        What the database can be searched for.
    data
        What it cannot: ``provenance``, ``seed`` with the full record of how the seed was made, and ``isolated_atoms``
        where they are known: energies of single atoms at the level of the labels, eV by symbol.
    id
        Number in the database; None for a row that is in none.
    """

    atoms: Atoms
    key_value_pairs: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None

    @property
    def labels(self) -> dict[str, Any]:
        """Energy, forces and, where there is one, stress.

        Raises
        ------
        AutopipeError
            If the row has no energy or no forces, or they are of another structure than the row's.
        """
        calc = self.atoms.calc
        where = 'a row' if self.id is None else f'row {self.id}'
        if calc is None or not {'energy', 'forces'} <= set(calc.results):
            raise AutopipeError(f'{where} has no energy or no forces')
        if calc.check_state(self.atoms):
            raise AutopipeError(f'{where} has labels of another structure: it was changed after they were computed')
        return {name: calc.results[name] for name in ('energy', 'forces', 'stress') if name in calc.results}

    @property
    def provenance(self) -> Provenance:
        """Where the row came from, exactly as it was given."""
        return Provenance.model_validate(self.data['provenance'])


def make_row(
    atoms: Atoms,
    provenance: Provenance,
    seed_record: dict[str, Any],
    isolated_atoms: Mapping[str, float] | None = None,
) -> Row:
    """Make a row from a labelled frame.

    Parameters
    ----------
    atoms
        With calculator results; they are copied in float64, and named after the architecture.
    provenance
        Where the frame came from.
    seed_record
        How its seed was made; the seed's ``kind`` and ``ancestor`` can be searched for as ``seed_kind`` and
        ``ancestor``.
    isolated_atoms
        Energies of single atoms by symbol, eV, from the calculator of the labels, as far as they are known.

    Raises
    ------
    AutopipeError
        If the energy, a force or a component of the stress is missing or not finite. A stress may be absent.
    """
    where = f'the frame at step {provenance.step} of seed {provenance.seed_id}'
    labelled = atoms.copy()
    labelled.info = {}
    labelled.calc = SinglePointCalculator(labelled, **_finite_results(atoms, where))
    labelled.calc.name = provenance.architecture
    pairs = provenance.key_value_pairs()
    for key, name in (('kind', 'seed_kind'), ('ancestor', 'ancestor')):
        if key in seed_record:
            pairs[name] = searchable(str(seed_record[key]))
    data = {'provenance': provenance.model_dump(), 'seed': seed_record}
    if isolated_atoms:
        data[ISOLATED_ATOMS] = dict(isolated_atoms)
    return Row(labelled, pairs, data)


def _finite_results(atoms: Atoms, where: str) -> dict[str, Any]:
    results = {} if atoms.calc is None else atoms.calc.results
    for name in ('energy', 'forces'):
        if results.get(name) is None:
            raise AutopipeError(f'{where} has no {name}, and a row of a dataset needs them')
    labels = {
        name: np.asarray(results[name], dtype=float) for name in ('energy', 'forces', 'stress') if name in results
    }
    for name, values in [*labels.items(), ('positions', atoms.positions)]:
        if not np.isfinite(values).all():
            raise AutopipeError(f'{where} has {name} that are not finite')
    return labels | {'energy': float(labels['energy'])}
