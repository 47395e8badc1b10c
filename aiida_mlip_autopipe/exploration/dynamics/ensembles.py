"""The choice of an ensemble, or of what is relaxed, for a structure. An impossible choice is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration.dynamics.cells import voigt_to_matrix
from aiida_mlip_autopipe.exploration.dynamics.deformation import deformation_vectors
from aiida_mlip_autopipe.exploration.settings.deform import DeformSettings
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration
from aiida_mlip_autopipe.exploration.settings.tension import TensionSettings
from aiida_mlip_autopipe.structures.seed import fixed_mask
from aiida_mlip_autopipe.structures.vacuum import count_connected_directions, empty_layers

Ensemble = Literal[
    'nve',
    'nvt',
    'npt',
    'npt_anisotropic',
    'npt_flexible',
    'npt_in_plane',
    'single_point',
    'relax_cell',
    'relax_positions',
    'relax_normal',
    'normal_modes',
    'deform_uniaxial',
    'deform_shear',
    'deform_volumetric',
]
DEFORMATIONS: dict[str, Ensemble] = {
    'uniaxial': 'deform_uniaxial',
    'shear': 'deform_shear',
    'volumetric': 'deform_volumetric',
}
AXES = 'abc'
NO_STRESS = 'the calculator does not provide the stress'
# Maximum cosine of the angle between two directions that count as perpendicular.
PERPENDICULAR = 1e-6
MOLECULAR = 'generated as molecules at a given density, which would not be preserved without dispersion'


class EnsembleRefusedError(AutopipeError):
    """An ensemble that is impossible for a structure."""


@dataclass(frozen=True)
class EnsembleChoice:
    """The chosen ensemble, and the reason for the choice."""

    ensemble: Ensemble
    reason: str


def choose_for(
    settings: AnyExploration,
    atoms: Atoms,
    has_stress: bool = True,
    form: str | None = None,
    molecular: bool = False,
    amorphous: bool = False,
) -> EnsembleChoice:
    """Choose the ensemble of an exploration of any kind; see `choose_ensemble` and `choose_degrees`."""
    if settings.kind == 'single_point':
        return EnsembleChoice('single_point', 'set by the user')
    if settings.kind == 'normal_modes':
        _refuse_immovable(atoms)
        return EnsembleChoice('normal_modes', 'set by the user')
    if settings.kind == 'deform':
        if obstacle := find_deformation_obstacle(atoms, settings, has_stress):
            raise EnsembleRefusedError(Code.ENSEMBLE_IMPOSSIBLE, f'this structure cannot be deformed: {obstacle}')
        return EnsembleChoice(DEFORMATIONS[settings.mode], 'set by the user')
    if settings.kind == 'relax':
        return choose_degrees(atoms, settings.degrees, settings.vacuum_A, has_stress, form, molecular)
    choice = choose_ensemble(
        atoms, settings.ensemble, settings.vacuum_A, has_stress, form, molecular, settings.cell, amorphous
    )
    if choice.ensemble == 'npt_in_plane' and settings.tension_GPa is not None:
        _check_tension(atoms, settings.tension_GPa)
    return choice


def choose_degrees(
    atoms: Atoms,
    requested: str,
    vacuum_A: float,
    has_stress: bool = True,
    form: str | None = None,
    molecular: bool = False,
) -> EnsembleChoice:
    """Choose what is relaxed: ``auto`` selects the cell too if the structure could be explored in NPT.

    Raises
    ------
    EnsembleRefusedError
        If the cell is to be relaxed, but cannot be, if the structure has no normal, or if no atom can move.
    """
    if fixed_mask(atoms).all():
        raise EnsembleRefusedError(Code.NOTHING_MOVES, 'all atoms are fixed')
    obstacle = find_npt_obstacle(atoms, vacuum_A, has_stress, form)
    if requested == 'auto':
        if obstacle:
            return EnsembleChoice('relax_positions', obstacle)
        if molecular:
            return EnsembleChoice('relax_positions', MOLECULAR)
        return EnsembleChoice('relax_cell', f'periodic in all directions, without an empty layer of {vacuum_A:g} Å')
    if requested == 'cell':
        if obstacle:
            raise EnsembleRefusedError(
                Code.ENSEMBLE_IMPOSSIBLE,
                f'the cell of this structure cannot be relaxed: {obstacle}; set degrees to positions or auto',
            )
        return EnsembleChoice('relax_cell', 'set by the user')
    if requested == 'normal' and not np.cross(*atoms.cell.array[:2]).any():
        raise EnsembleRefusedError(
            Code.ENSEMBLE_IMPOSSIBLE,
            'this structure has no normal along which it could be relaxed, because its first two cell vectors do not '
            'span a plane; set degrees to positions or auto',
        )
    return EnsembleChoice('relax_normal' if requested == 'normal' else 'relax_positions', 'set by the user')


def choose_ensemble(
    atoms: Atoms,
    requested: str,
    vacuum_A: float,
    has_stress: bool = True,
    form: str | None = None,
    molecular: bool = False,
    cell: str = 'isotropic',
    amorphous: bool = False,
) -> EnsembleChoice:
    """Choose the ensemble.

    Parameters
    ----------
    atoms
        The structure.
    requested
        ``auto``, ``nve``, ``nvt`` or ``npt``.
    vacuum_A
        Minimum thickness of an empty layer that counts as vacuum, in Å. Atoms are spheres with their covalent radii.
    has_stress
        Whether the calculator provides the stress.
    form
        Form of a generated structure with vacuum, such as ``slab``. It takes precedence over the geometry.
    molecular
        Whether the structure was generated as molecules. ``auto`` then keeps their density.
    cell
        What changes in NPT: ``isotropic``, ``anisotropic``, ``flexible`` or ``in_plane``. If this is impossible for the
        structure, ``auto`` uses ``isotropic``.
    amorphous
        Whether the structure, or a part of it, was generated as amorphous or liquid. The shape of its cell is then
        constant.

    Raises
    ------
    EnsembleRefusedError
        If NPT is requested but impossible, or if no atom can move.
    """
    _refuse_immovable(atoms)
    if cell != 'isotropic' and requested in ('auto', 'npt'):
        return _choose_shape(atoms, requested, vacuum_A, has_stress, form, molecular, cell, amorphous)
    obstacle = find_npt_obstacle(atoms, vacuum_A, has_stress, form)
    if requested == 'auto':
        if obstacle:
            return EnsembleChoice('nvt', obstacle)
        if molecular:
            return EnsembleChoice('nvt', MOLECULAR)
        return EnsembleChoice('npt', f'periodic in all directions, without an empty layer of {vacuum_A:g} Å')
    if requested == 'npt':
        if obstacle:
            raise EnsembleRefusedError(
                Code.ENSEMBLE_IMPOSSIBLE, f'NPT is not possible for this structure: {obstacle}; use nvt or auto'
            )
        return EnsembleChoice('npt', 'set by the user')
    return EnsembleChoice('nve' if requested == 'nve' else 'nvt', 'set by the user')


def _refuse_immovable(atoms: Atoms) -> None:
    """Refuse a structure in which no atom can move relative to the others."""
    fixed = fixed_mask(atoms)
    if fixed.all() or (len(atoms) == 1 and not fixed.any()):
        raise EnsembleRefusedError(
            Code.NOTHING_MOVES,
            'all atoms are fixed'
            if fixed.all()
            else 'a single atom cannot move relative to other atoms; make a supercell, for example with '
            'perturb.supercell or validation.min_width_factor, or use the kind single_point or relax',
        )


def _choose_shape(
    atoms: Atoms,
    requested: str,
    vacuum_A: float,
    has_stress: bool,
    form: str | None,
    molecular: bool,
    cell: str,
    amorphous: bool,
) -> EnsembleChoice:
    """Choose NPT with a cell that changes its shape. If this is impossible, ``auto`` keeps the shape."""
    if molecular and requested == 'auto':
        return choose_ensemble(atoms, requested, vacuum_A, has_stress, form, molecular)
    if amorphous:
        kind = 'a packing of molecules' if molecular else 'an amorphous structure'
        obstacle: str | None = f'generated as {kind}, whose cell could shear without limit'
    elif cell == 'in_plane':
        obstacle = find_in_plane_obstacle(atoms, vacuum_A, has_stress, form)
    else:
        obstacle = find_npt_obstacle(atoms, vacuum_A, has_stress, form)
    if obstacle is None:
        ensembles: dict[str, Ensemble] = {
            'anisotropic': 'npt_anisotropic',
            'flexible': 'npt_flexible',
            'in_plane': 'npt_in_plane',
        }
        return EnsembleChoice(ensembles[cell], f'cell is {cell}')
    if requested == 'npt':
        raise EnsembleRefusedError(
            Code.ENSEMBLE_IMPOSSIBLE,
            f'NPT with cell: {cell} is not possible for this structure: {obstacle}; set ensemble to nvt or auto, or '
            'use another cell',
        )
    choice = choose_ensemble(atoms, requested, vacuum_A, has_stress, form)
    return EnsembleChoice('npt', obstacle) if choice.ensemble == 'npt' else choice


def _check_tension(atoms: Atoms, tension: TensionSettings) -> None:
    """Refuse a tension with a component along the normal of a slab, where the cell does not change."""
    normal = np.cross(*atoms.cell.array[:2])
    matrix = voigt_to_matrix(np.array(tension.components_GPa))
    if np.abs(matrix @ normal).max() > 1e-6 * np.abs(matrix).max() * np.linalg.norm(normal):
        raise EnsembleRefusedError(
            Code.ENSEMBLE_IMPOSSIBLE,
            'tension_GPa has a component along the normal of the first two cell vectors, but with cell: in_plane the '
            'cell changes only in their plane; use other components',
        )


def find_in_plane_obstacle(
    atoms: Atoms, vacuum_A: float, has_stress: bool = True, form: str | None = None
) -> str | None:
    """Return why the cell of a structure cannot change in the plane of its first two vectors, or None if it can."""
    open_axes = [axis for axis, periodic in zip(AXES, atoms.pbc, strict=True) if not periodic]
    if open_axes:
        return f'not periodic along {", ".join(open_axes)}, and only fully periodic structures have a stress'
    if form not in (None, 'slab'):
        return f'generated as a {form} in vacuum'
    if form is None:
        radii = covalent_radii[atoms.numbers]
        layers = empty_layers(atoms, radii)
        if layers[2] < vacuum_A:
            return f'no empty layer of {vacuum_A:g} Å along c'
        if layers[:2].max() >= vacuum_A or count_connected_directions(atoms, radii, vacuum_A) < 2:
            return f'gaps of at least {vacuum_A:g} Å also interrupt it in the plane of the first two cell vectors'
    return _find_general_obstacle(atoms, has_stress)


def find_npt_obstacle(atoms: Atoms, vacuum_A: float, has_stress: bool = True, form: str | None = None) -> str | None:
    """Return why a structure cannot be explored at constant pressure, or None if it can."""
    open_axes = [axis for axis, periodic in zip(AXES, atoms.pbc, strict=True) if not periodic]
    if open_axes:
        return f'not periodic along {", ".join(open_axes)}'
    if form:
        return f'generated as a {form} in vacuum'
    radii = covalent_radii[atoms.numbers]
    layers = empty_layers(atoms, radii)
    widest = int(np.argmax(layers))
    if layers[widest] >= vacuum_A:
        return f'an empty layer of {layers[widest]:.1f} Å along {AXES[widest]}'
    connected = count_connected_directions(atoms, radii, vacuum_A)
    if connected < len(AXES):
        return (
            f'gaps of at least {vacuum_A:g} Å divide it into parts that are each continuous along at most {connected} '
            'of 3 directions'
        )
    return _find_general_obstacle(atoms, has_stress)


def _find_general_obstacle(atoms: Atoms, has_stress: bool) -> str | None:
    n_fixed = int(fixed_mask(atoms).sum())
    if n_fixed:
        return f'changing the cell would move the fixed atoms ({n_fixed})'
    if not has_stress:
        return NO_STRESS
    return None


def find_deformation_obstacle(atoms: Atoms, settings: DeformSettings, has_stress: bool = True) -> str | None:
    """Return why a structure cannot be deformed, or None if it can.

    A structure with vacuum may be deformed in the plane of its layers.
    """
    open_axes = [axis for axis, periodic in zip(AXES, atoms.pbc, strict=True) if not periodic]
    if open_axes:
        return f'it is not periodic along {", ".join(open_axes)}'
    if n_fixed := int(fixed_mask(atoms).sum()):
        return f'changing the cell would move the fixed atoms ({n_fixed})'
    if not has_stress:
        return NO_STRESS
    direction, normal = deformation_vectors(settings, atoms.cell.array)
    if settings.mode == 'shear' and abs(direction @ normal) > PERPENDICULAR:
        return 'the shear direction is not in the shear plane'
    radii = covalent_radii[atoms.numbers]
    layers = empty_layers(atoms, radii)
    reciprocal = np.linalg.inv(atoms.cell.array).T
    planes = reciprocal / np.linalg.norm(reciprocal, axis=1)[:, np.newaxis]
    across = np.ones(3) if settings.mode == 'volumetric' else np.abs(planes @ normal)
    for axis in np.flatnonzero(layers >= settings.vacuum_A):
        if across[axis] > PERPENDICULAR:
            return f'an empty layer of {layers[axis]:.1f} Å along {AXES[axis]} would be deformed'
    connected = count_connected_directions(atoms, radii, settings.vacuum_A)
    if connected < len(AXES) - int((layers >= settings.vacuum_A).sum()):
        return f'gaps of at least {settings.vacuum_A:g} Å divide it'
    return None
