"""Deformation and displacement of a parent structure into one of its variants."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.structures.seed import fixed_mask


class PerturbSettings(Settings):
    """How a parent structure is repeated, deformed and rattled. By default it is left as it is."""

    n_variants: PositiveInt | None = None
    """Seeds made from each parent structure; by default one, or one for each point of `volume_scan`."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    """Repeats of the parent along its cell vectors, before it is deformed."""
    isotropic_strain: float = Field(default=0.0, ge=0, lt=0.5)
    """Largest linear strain: one number, uniform between minus and plus this, scales all directions."""
    anisotropic_strain: float = Field(default=0.0, ge=0, lt=0.5)
    """Largest normal strain: ε_xx, ε_yy and ε_zz are drawn independently, uniform between minus and plus this."""
    shear: float = Field(default=0.0, ge=0, lt=0.5)
    """Largest shear strain: ε_yz, ε_xz and ε_xy are drawn independently, uniform between minus and plus this. They are
    tensor strains; the engineering strain is twice as large."""
    volume_scan: tuple[float, ...] = ()
    """Relative changes of the volume, as [-0.2, 0, 0.4]: variant by variant the next one, cyclically."""
    rattle_A: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation in Å of the Gaussian displacement of each component of each atom that is not fixed."""
    rattle_temperature_K: PositiveFloat | None = None
    """Rattle by temperature instead: the standard deviation is that of a Debye solid in its classical limit."""
    debye_temperature_K: PositiveFloat = 300.0
    """Debye temperature for `rattle_temperature_K`."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.rattle_A and self.rattle_temperature_K:
            raise fault(Code.VALUES_EXCLUDE, 'give rattle_A or rattle_temperature_K, not both')
        if any(change <= -0.9 or change > 5 for change in self.volume_scan):
            raise fault(Code.OUT_OF_RANGE, 'each relative volume change must be above -0.9 and at most 5')
        return self

    @property
    def variants(self) -> int:
        """Variants of each parent."""
        return self.n_variants or max(1, len(self.volume_scan))

    @property
    def is_random(self) -> bool:
        """Whether two variants of one parent differ."""
        return any(
            [self.isotropic_strain, self.anisotropic_strain, self.shear, self.rattle_A, self.rattle_temperature_K]
        )

    @property
    def is_identity(self) -> bool:
        """Whether the parent is left as it is."""
        return not self.is_random and not any(self.volume_scan) and self.supercell == (1, 1, 1)

    @property
    def smallest_stretch(self) -> float:
        """Smallest factor by which a cell height can shrink, to first order in the strains."""
        scan = min(0.0, *self.volume_scan, 0.0)
        strain = self.isotropic_strain + self.anisotropic_strain + 2 * self.shear
        return float(max(0.1, (1 + scan) ** (1 / 3) * (1 - strain)))


def perturb_atoms(
    parent: Atoms,
    settings: PerturbSettings,
    variant: int,
    rng: np.random.Generator,
    deformable: tuple[bool, bool, bool] | None = None,
) -> tuple[Atoms, dict[str, Any]]:
    """Return a variant of a parent and what was done to it.

    With the cell vectors as rows, ``cell' = cell Fᵀ`` and the positions likewise, where
    ``F = (1 + ΔV/V)^(1/3) (1 + P ε P)``: ε is the symmetric strain tensor and P projects on the plane or line of the
    deformable cell vectors, so that a slab is strained in its plane only (the volume factor too) and a molecule not
    at all. Then the atoms that are not fixed are displaced.

    The temperature's standard deviation is ``σ² = 3 ħ² T / (m k θ²)`` a component, with the atom's mass m and the Debye
    temperature θ [1]_.

    Parameters
    ----------
    parent
        The structure; it is not changed.
    settings
        What to do.
    variant
        Number of this variant of the parent; it picks the point of the volume scan.
    rng
        Source of all random numbers.
    deformable
        Which cell vectors may be strained; by default the periodic ones.

    References
    ----------
    .. [1] B. T. M. Willis, A. W. Pryor, Thermal Vibrations in Crystallography, Cambridge 1975, ch. 4.
    """
    atoms = parent.repeat(settings.supercell) if settings.supercell != (1, 1, 1) else parent.copy()
    record: dict[str, Any] = {}
    if settings.supercell != (1, 1, 1):
        record['supercell'] = list(settings.supercell)
    numbers = rng.uniform(-1, 1, 7)
    strain = np.diag(settings.isotropic_strain * numbers[0] + settings.anisotropic_strain * numbers[1:4])
    for (i, j), number in zip(((1, 2), (0, 2), (0, 1)), numbers[4:], strict=True):
        strain[i, j] = strain[j, i] = settings.shear * number
    projector = _projector(atoms, deformable)
    stretch = np.eye(3) + projector @ strain @ projector
    if settings.volume_scan:
        change = settings.volume_scan[variant % len(settings.volume_scan)]
        stretch = stretch @ (np.eye(3) + projector * ((1 + change) ** (1 / 3) - 1))
        record['volume_change'] = change
    if not np.array_equal(stretch, np.eye(3)):
        atoms.set_cell(atoms.cell.array @ stretch.T)
        atoms.set_positions(atoms.positions @ stretch.T, apply_constraint=False)
        tensor = stretch - np.eye(3)
        voigt = (tensor + tensor.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / 2
        record['strain_voigt'] = [round(float(value), 10) for value in voigt]
    sigma = _rattle_sigma(atoms, settings)
    if sigma is not None:
        displacements = rng.normal(size=(len(atoms), 3)) * sigma[:, None]
        displacements[fixed_mask(atoms)] = 0
        atoms.positions += displacements
        record['rattle_A'] = round(float(sigma.mean()), 10)
    return atoms, record


def _projector(atoms: Atoms, deformable: tuple[bool, bool, bool] | None) -> np.ndarray:
    """Return the orthogonal projector on the span of the deformable cell vectors, (3, 3)."""
    mask = atoms.pbc if deformable is None else np.asarray(deformable)
    if mask.all():
        return np.eye(3)
    basis = atoms.cell.array[mask]
    return np.asarray(np.linalg.pinv(basis) @ basis) if len(basis) else np.zeros((3, 3))


def _rattle_sigma(atoms: Atoms, settings: PerturbSettings) -> np.ndarray | None:
    """Return the standard deviation of each atom's displacement in Å, shape (n,)."""
    if settings.rattle_A:
        return np.full(len(atoms), settings.rattle_A)
    if settings.rattle_temperature_K is None:
        return None
    from ase.units import _amu, _hbar, _k

    variance = 3 * _hbar**2 * settings.rattle_temperature_K / (_k * settings.debye_temperature_K**2)
    return np.asarray(np.sqrt(variance / (atoms.get_masses() * _amu)) * 1e10)
