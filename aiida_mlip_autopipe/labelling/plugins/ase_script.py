"""The settings of aiida-ase's ``AseCalculation``, which writes and runs a script for one structure."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators.k_points import k_mesh
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.labelling.labellers.ase import AseSettings
from aiida_mlip_autopipe.structures.vacuum import extended_directions

ENERGIES = 'energies'
"""The name of the array with the free energy (NaN if it is not needed) and the energy."""


def packages_of(calculator: str) -> tuple[str, ...]:
    """Return the distributions whose versions are part of the level of theory of a calculator."""
    return ('ase', 'gpaw', 'gpaw-data') if calculator == 'gpaw' else ('ase',)


def version_lines(calculator: str) -> list[str]:
    """Return lines of Python that assign the versions of the packages of a calculator, by name, to ``versions``."""
    return [
        'import importlib.metadata',
        f'packages = {packages_of(calculator)!r}',
        'versions = {name: importlib.metadata.version(name) for name in packages}',
    ]


def script_settings(atoms: Atoms, settings: AseSettings) -> tuple[dict[str, Any], list[int] | None]:
    """Return the input ``parameters`` of ``AseCalculation`` for a structure, and the mesh of k-points, if one is set.

    Raises
    ------
    AutopipeError
        If the structure has initial magnetic moments or charges, which ``AseCalculation`` would ignore.
    """
    for name in ('magnetic moments', 'charges'):
        if getattr(atoms, f'get_initial_{name.replace(" ", "_")}')().any():
            raise AutopipeError(
                Code.SETTINGS_REFUSED,
                f'the structure has initial {name}, which aiida-ase ignores; use another labeller',
            )
    getters: list[Any] = [['forces', {'apply_constraint': False}]]
    if settings.stress and atoms.pbc.all():
        getters.append('stress')
    has_free_energy = settings.energy == 'free_energy'
    free_energy = 'atoms.get_potential_energy(force_consistent=True)' if has_free_energy else "float('nan')"
    parameters: dict[str, Any] = {
        'calculator': {'name': settings.calculator, 'args': settings.parameters},
        'atoms_getters': getters,
        # The numbers in a Dict of AiiDA have 14 digits, those in an array all of them.
        'post_lines': [
            f"results['{ENERGIES}'] = [{free_energy}, atoms.get_potential_energy()]",
            *version_lines(settings.calculator),
            "results['versions'] = versions",
            "results['seconds'] = time.monotonic() - started",
        ],
        'extra_imports': ['time'],
        'pre_lines': ['started = time.monotonic()'],
    }
    if settings.kspacing_per_A is None:
        return parameters, None
    if settings.calculator == 'gpaw':
        parameters['kpoints_options'] = {'gamma': True}
    return parameters, k_mesh(atoms.cell, extended_directions(atoms), settings.kspacing_per_A)
