"""Perturbation of a parent structure: repetition, strain and random displacements."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.particles.packing import rotate
from aiida_mlip_autopipe.structures.molecules import molecule_centres, number_bodies, repeat_molecules
from aiida_mlip_autopipe.structures.seed import fixed_mask
from aiida_mlip_autopipe.structures.vacuum import MIN_LAYER_OF_SLAB_A, empty_layers


class PerturbSettings(Settings):
    """Repetition, strain and rattling of a parent structure. By default, the parent is unchanged."""

    n_variants: PositiveInt | None = None
    """Number of seeds from each parent structure; by default, one, or one for each point of `volume_scan`."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    """Number of repeats of the parent along each cell vector. The parent is repeated before it is strained."""
    isotropic_strain: float = Field(default=0.0, ge=0, lt=0.5)
    """Maximum linear strain. One random number, uniform between minus and plus this value, scales all directions."""
    anisotropic_strain: float = Field(default=0.0, ge=0, lt=0.5)
    """Maximum normal strain. ε_xx, ε_yy and ε_zz are drawn independently and uniformly between minus and plus this
    value."""
    shear: float = Field(default=0.0, ge=0, lt=0.5)
    """Maximum shear strain. ε_yz, ε_xz and ε_xy are drawn independently and uniformly between minus and plus this
    value. They are tensor strains; the engineering strain is twice as large."""
    volume_scan: tuple[float, ...] = ()
    """Relative changes of the volume, such as [-0.2, 0, 0.4]. The variants of a parent use them in turn."""
    rattle_A: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation in Å of the Gaussian displacement of each atom along x, y and z. Fixed atoms do not move."""
    rattle_temperature_K: PositiveFloat | None = None
    """Temperature in K, instead of `rattle_A`. The standard deviation is that of a classical Debye solid."""
    debye_temperature_K: PositiveFloat = 300.0
    """Debye temperature in K for `rattle_temperature_K`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.rattle_A and self.rattle_temperature_K:
            raise fault(Code.VALUES_EXCLUDE, 'set rattle_A or rattle_temperature_K, not both')
        if any(change <= -0.9 or change > 5 for change in self.volume_scan):
            raise fault(Code.OUT_OF_RANGE, 'each relative volume change must be above -0.9 and at most 5')
        return self

    @property
    def variants(self) -> int:
        """Number of variants of each parent."""
        return self.n_variants or max(1, len(self.volume_scan))

    @property
    def is_random(self) -> bool:
        """Whether the variants are random."""
        return any(
            [self.isotropic_strain, self.anisotropic_strain, self.shear, self.rattle_A, self.rattle_temperature_K]
        )

    @property
    def is_identity(self) -> bool:
        """Whether the settings leave the parent unchanged."""
        return not self.is_random and not any(self.volume_scan) and self.supercell == (1, 1, 1)

    @property
    def smallest_stretch(self) -> float:
        """Minimum factor by which strain can scale a perpendicular width of the cell, to first order in the strains."""
        scan = min(0.0, *self.volume_scan, 0.0)
        strain = self.isotropic_strain + self.anisotropic_strain + 2 * self.shear
        return float(max(0.1, (1 + scan) ** (1 / 3) * (1 - strain)))


def check_deformable(atoms: Atoms, settings: PerturbSettings, deformable: tuple[bool, bool, bool] | None) -> None:
    """Refuse strain and a volume scan of a structure without a cell vector that may be strained.

    Raises
    ------
    AutopipeError
        With the settings that would have no effect.
    """
    if _projector(atoms, deformable).any():
        return
    strains = {name: getattr(settings, name) for name in ('isotropic_strain', 'anisotropic_strain', 'shear')}
    useless = [name for name, value in (strains | {'volume_scan': settings.volume_scan}).items() if value]
    if useless:
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            f'perturb.{useless[0]}: {atoms.get_chemical_formula()} is not periodic, so strain would have no effect; '
            f'leave out {", ".join(useless)}',
        )


def perturb_atoms(
    parent: Atoms,
    settings: PerturbSettings,
    variant: int,
    rng: np.random.Generator,
    deformable: tuple[bool, bool, bool] | None = None,
    *,
    molecular: bool = False,
) -> tuple[Atoms, dict[str, Any]]:
    """Return a variant of a parent, and the record of the perturbation.

    The cell vectors are rows and transform as ``cell' = cell Fᵀ``, with ``F = (1 + ΔV/V)^(1/3) (1 + P ε P)``. The
    positions transform in the same way. ε is the symmetric strain tensor, and P projects onto the plane or line of the
    deformable cell vectors. A slab is therefore strained and scaled only in its plane, and a molecule not at all. Then
    the atoms that are not fixed are displaced.

    A rattle temperature T gives the variance ``σ² = 3 ħ² T / (m k θ²)`` of each component, with the mass m of the atom
    and the Debye temperature θ [1]_.

    Molecules keep their shape. Strain moves only their centres. Rattling displaces a molecule as a whole, with its mass
    as m, and rotates it by an angle with the standard deviation σ/R about each axis, where R is its radius of gyration.

    Parameters
    ----------
    parent
        The structure, which is not changed.
    settings
        The perturbation.
    variant
        Index of the variant of the parent, which selects the point of the volume scan.
    rng
        Source of all random numbers.
    deformable
        Which cell vectors may be strained; by default, the periodic ones.
    molecular
        Whether the structure consists of molecules, which its tags number. The molecules of a repeated structure are
        renumbered.

    Raises
    ------
    AutopipeError
        If the structure has no cell vector along which it should be repeated.

    References
    ----------
    .. [1] B. T. M. Willis, A. W. Pryor, Thermal Vibrations in Crystallography, Cambridge 1975, ch. 4.
    """
    atoms = _repeat(parent, settings.supercell, molecular=molecular)
    record: dict[str, Any] = {}
    if settings.supercell != (1, 1, 1):
        record['supercell'] = list(settings.supercell)
    stretch, change = _draw_stretch(atoms, settings, variant, rng, deformable)
    if change is not None:
        record['volume_change'] = change
    if not np.array_equal(stretch, np.eye(3)):
        atoms.set_cell(atoms.cell.array @ stretch.T)
        if molecular:
            centres = molecule_centres(atoms.positions, number_bodies(atoms.get_tags()))
            atoms.positions += centres @ stretch.T - centres
        else:
            atoms.set_positions(atoms.positions @ stretch.T, apply_constraint=False)
        tensor = stretch - np.eye(3)
        voigt = (tensor + tensor.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 2
        record['strain_voigt'] = [round(float(value), 10) for value in voigt]
    if molecular:
        return atoms, record | _rattle_molecules(atoms, settings, rng)
    sigma = _rattle_sigma(atoms.get_masses(), settings)
    if sigma is not None:
        displacements = rng.normal(size=(len(atoms), 3)) * sigma[:, None]
        displacements[fixed_mask(atoms)] = 0
        atoms.positions += displacements
        record['rattle_A'] = round(float(sigma.mean()), 10)
    return atoms, record


def _repeat(parent: Atoms, supercell: tuple[int, int, int], *, molecular: bool) -> Atoms:
    """Return a copy of a structure, repeated along its cell vectors, with new numbers for the copies of molecules."""
    missing = ~parent.cell.array.any(axis=1) & (np.array(supercell) > 1)
    if missing.any():
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            f'perturb.supercell: {parent.get_chemical_formula()} has no cell vector {int(missing.argmax()) + 1}, along '
            'which it could be repeated; this number of repeats must be 1',
        )
    if supercell == (1, 1, 1):
        return parent.copy()
    if molecular:
        return repeat_molecules(parent, supercell)
    separate = (~parent.pbc | (empty_layers(parent) >= MIN_LAYER_OF_SLAB_A)) & (np.array(supercell) > 1)
    if separate.any():
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            f'perturb.supercell: {parent.get_chemical_formula()} is not periodic or has vacuum along cell vector '
            f'{int(separate.argmax()) + 1}, so its copies would be separate; this number of repeats must be 1',
        )
    return parent.repeat(supercell)


def _draw_stretch(
    atoms: Atoms,
    settings: PerturbSettings,
    variant: int,
    rng: np.random.Generator,
    deformable: tuple[bool, bool, bool] | None,
) -> tuple[np.ndarray, float | None]:
    """Return the deformation gradient F (3, 3), and the relative change of the volume if it is part of a scan."""
    numbers = rng.uniform(-1, 1, 7)
    strain = np.diag(settings.isotropic_strain * numbers[0] + settings.anisotropic_strain * numbers[1:4])
    for (i, j), number in zip(((1, 2), (0, 2), (0, 1)), numbers[4:], strict=True):
        strain[i, j] = strain[j, i] = settings.shear * number
    projector = _projector(atoms, deformable)
    stretch = np.eye(3) + projector @ strain @ projector
    if settings.volume_scan:
        change = settings.volume_scan[variant % len(settings.volume_scan)]
        stretch = stretch @ (np.eye(3) + projector * ((1 + change) ** (1 / 3) - 1))
        return stretch, change
    return stretch, None


def _projector(atoms: Atoms, deformable: tuple[bool, bool, bool] | None) -> np.ndarray:
    """Return the orthogonal projector onto the span of the deformable cell vectors, (3, 3)."""
    mask = atoms.pbc if deformable is None else np.asarray(deformable)
    if mask.all():
        return np.eye(3)
    basis = atoms.cell.array[mask]
    return np.asarray(np.linalg.pinv(basis) @ basis) if len(basis) else np.zeros((3, 3))


def _rattle_molecules(atoms: Atoms, settings: PerturbSettings, rng: np.random.Generator) -> dict[str, Any]:
    """Displace and rotate each molecule, and return the record."""
    molecule = number_bodies(atoms.get_tags())
    sigma = _rattle_sigma(np.bincount(molecule, atoms.get_masses()), settings)
    if sigma is None:
        return {}
    numbers = rng.normal(size=(2, len(sigma), 3))
    centres = molecule_centres(atoms.positions, molecule)
    arms = atoms.positions - centres
    gyration = np.sqrt(np.bincount(molecule, (arms**2).sum(axis=1)) / np.bincount(molecule))
    # Rotating a single atom has no effect.
    angles = numbers[1] * (sigma / np.where(gyration > 0, gyration, 1.0))[:, None]
    half = np.sqrt((angles**2).sum(axis=1, keepdims=True)) / 2
    turns = np.concatenate([np.cos(half), angles / 2 * np.sinc(half / np.pi)], axis=1)
    atoms.positions = centres + (numbers[0] * sigma[:, None])[molecule] + rotate(arms, turns[molecule])
    return {'rattle_A': round(float(sigma.mean()), 10)}


def _rattle_sigma(masses: np.ndarray, settings: PerturbSettings) -> np.ndarray | None:
    """Return the standard deviation in Å of the displacements of particles with these masses in u, shape (n,)."""
    if settings.rattle_A:
        return np.full(len(masses), settings.rattle_A)
    if settings.rattle_temperature_K is None:
        return None
    from ase.units import _amu, _hbar, _k

    variance = 3 * _hbar**2 * settings.rattle_temperature_K / (_k * settings.debye_temperature_K**2)
    return np.asarray(np.sqrt(variance / (masses * _amu)) * 1e10)
