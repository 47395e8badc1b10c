"""GPAW: density functional theory with plane waves and PAW setups."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, ground_state_magnetic_moments
from pydantic import Field, model_validator

from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.calculators.base import CalculatorLoader, CalculatorSettings, Loaded
from aiida_mlip_autopipe.calculators.dispersion import PACKAGE, DispersionCorrection, check_dispersion
from aiida_mlip_autopipe.calculators.gpaw_scf import CHANGES, converge
from aiida_mlip_autopipe.calculators.gpaw_setups import VALENCE_ELECTRONS, find_setups, setups_sha256
from aiida_mlip_autopipe.calculators.k_points import k_mesh
from aiida_mlip_autopipe.calculators.slabs import axis_of_dipole, move_to_middle
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.structures.vacuum import extended_directions, is_few_atoms

Preset = Literal['fast', 'balanced', 'accurate']

PRESETS: dict[Preset, dict[str, float]] = {
    'fast': {'plane_wave_cutoff_eV': 400.0, 'kspacing_per_A': 0.5, 'scf_density': 1e-4},
    'balanced': {'plane_wave_cutoff_eV': 700.0, 'kspacing_per_A': 0.3, 'scf_density': 1e-5},
    'accurate': {'plane_wave_cutoff_eV': 900.0, 'kspacing_per_A': 0.2, 'scf_density': 1e-6},
}
"""The settings that determine the numerical error and most of the cost."""

# By Hund's rules, one spin channel may contain more than half of the electrons, so an atom needs additional bands.
EMPTY_BANDS_OF_ATOM = 5


# The factor of the spacing of the k-points when a label is computed again with a denser mesh.
DENSER = 0.75


class GPAWSettings(CalculatorSettings):
    """Plane-wave density functional theory with GPAW."""

    kind: Literal['gpaw'] = 'gpaw'
    """GPAW."""
    preset: Preset = 'balanced'
    """Default plane-wave cutoff, k-point spacing and convergence threshold of the density."""
    functional: Literal['LDA', 'PBE', 'PBEsol', 'RPBE', 'revPBE'] = 'PBE'
    """Exchange-correlation functional."""
    plane_wave_cutoff_eV: float = Field(default=PRESETS['balanced']['plane_wave_cutoff_eV'], gt=0)
    """Plane-wave cutoff in eV; by default, that of the preset."""
    kspacing_per_A: float = Field(default=PRESETS['balanced']['kspacing_per_A'], gt=0)
    """Maximum k-point spacing in 1/Å, including the factor 2π, as in VASP's ``KSPACING``; by default, that of the
    preset. The mesh is centred at Γ and has one k-point along non-periodic directions and across a vacuum."""
    scf_density: float = Field(default=PRESETS['balanced']['scf_density'], gt=0)
    """Convergence threshold of the density in electrons per valence electron; by default, that of the preset."""
    max_scf_steps: int = Field(default=200, ge=1)
    """Maximum number of steps of the SCF cycle. A structure that does not converge is computed again with different
    mixing, then with more bands, and finally starting from a density converged with a wider smearing. If all attempts
    fail, it has no results."""
    smearing: Literal['fermi-dirac', 'marzari-vanderbilt'] = 'fermi-dirac'
    """Smearing function for the occupations."""
    smearing_eV: float = Field(default=0.1, gt=0)
    """Smearing width in eV."""
    energy: Literal['free_energy', 'extrapolated'] = 'free_energy'
    """The energy of the results: the electronic free energy, whose derivatives are the forces and the stress, or its
    extrapolation to zero smearing width."""
    spin_polarized: bool | None = None
    """Whether the calculations are spin-polarised. By default, they are not, but labelling refuses structures with
    magnetic elements or initial moments unless this is set. Dimers and trimers in vacuum are always spin-polarised,
    like isolated atoms; they start from the moments of the free atoms unless other moments are given."""
    initial_magnetic_moments: dict[str, float] = Field(default_factory=dict)
    """Initial magnetic moment in μB of the atoms of each element; requires ``spin_polarized: true``. If the structure
    has initial moments, those are used instead."""
    hubbard_U_eV: dict[str, dict[Literal['p', 'd', 'f'], float]] = Field(default_factory=dict)
    """Effective Hubbard U in eV (Dudarev) of the shells of an element, such as ``{Fe: {d: 5.3}}``."""
    dispersion: bool = False
    """Whether to add Grimme's D3 dispersion correction with Becke-Johnson damping and the parameters of the functional.
    This needs the package ``dftd3``."""
    charge: float | None = None
    """Total charge of each structure in units of the elementary charge. By default, it is 0, but labelling refuses
    structures whose initial charges do not sum to 0 unless this is set."""
    dipole_correction: bool = True
    """Whether a dipole correction is applied to slabs whose cell vector across the vacuum is along a Cartesian axis and
    perpendicular to the other two."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """Thickness in Å of the vacuum on each side of the structure along non-periodic directions."""
    cutoff_A: float = Field(default=5.0, gt=0)
    """DFT has no cutoff radius. Seeds are made as large as for an MLIP with this cutoff radius in Å."""

    @model_validator(mode='before')
    @classmethod
    def _apply_preset(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and (preset := fields.get('preset', 'balanced')) in PRESETS:
            return PRESETS[preset] | dict(fields)
        return fields

    @model_validator(mode='after')
    def _refuse_unused_values(self) -> Self:
        if self.initial_magnetic_moments and not self.spin_polarized:
            raise fault(Code.VALUES_INCOMPLETE, 'initial_magnetic_moments requires spin_polarized: true')
        if self.dispersion and self.functional == 'LDA':
            raise fault(Code.VALUES_EXCLUDE, 'dispersion has no parameters for the functional LDA')
        return self


class SinglePointGPAW(Calculator):  # type: ignore[misc]
    """GPAW with a new calculation for each structure, so that the results do not depend on earlier structures.

    Parameters
    ----------
    settings
        The settings.
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress', 'magmoms')

    def __init__(self, settings: GPAWSettings):
        super().__init__()
        self._settings = settings
        self._changes: tuple[str, ...] = CHANGES
        self._moves_start = False
        self.attempts: tuple[Attempt, ...] = ()
        """The attempts to converge the last structure."""
        self._dispersion = DispersionCorrection(settings.functional) if settings.dispersion else None

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute energy (eV), forces (eV/Å), the stress of a periodic structure (eV/Å³) and magnetic moments (μB)."""
        super().calculate(atoms, properties, system_changes)
        computed, parameters = prepare(self.atoms, self._settings)
        if self._moves_start and parameters['spinpol']:
            computed.set_initial_magnetic_moments(other_start(computed.get_initial_magnetic_moments()))
        self._converge(computed, parameters, self._changes)
        free_energy = float(computed.get_potential_energy(force_consistent=True))
        extrapolated = float(computed.get_potential_energy())
        energy = free_energy if self._settings.energy == 'free_energy' else extrapolated
        self.results = {
            'energy': energy,
            'free_energy': free_energy,
            'extrapolated_energy': extrapolated,
            'forces': computed.get_forces(),
        }
        if self.atoms.pbc.all():
            self.results['stress'] = computed.get_stress()
        if self._dispersion is not None:
            self._dispersion.add_to(self.results, self.atoms)
        if parameters['spinpol']:
            self.results['magmoms'] = computed.get_magnetic_moments()

    def isolated_atom_energy(self, symbol: str) -> float:
        """Return the energy in eV of a neutral atom with integer occupations and the spin given by Hund's rules.

        The edges of the box have different lengths, so that an open shell can break the symmetry.
        """
        atom, parameters = prepare(Atoms(symbol), self._settings)
        atom.set_cell(atom.cell.lengths() + np.array([0.0, 0.5, 1.0]))
        atom.center()
        parameters |= {'hund': True, 'occupations': {'name': 'fixed-uniform'}, 'nbands': -EMPTY_BANDS_OF_ATOM}
        parameters['charge'] = 0.0
        atom.set_initial_magnetic_moments(None)
        del parameters['spinpol']
        # The occupations are fixed, and there are enough bands.
        self._converge(atom, parameters, ('', 'mixing'))
        return float(atom.get_potential_energy())

    def vary(self, variation: Literal['mixing', 'k_points', 'magnetic_start']) -> None:
        """Change how later structures are computed, to see whether a label is reproduced.

        Parameters
        ----------
        variation
            ``mixing`` starts with the changes of the second attempt, ``k_points`` makes the mesh denser, and
            ``magnetic_start`` starts from different magnetic moments.
        """
        if variation == 'mixing':
            self._changes = CHANGES[1:]
        elif variation == 'k_points':
            kspacing_per_A = DENSER * self._settings.kspacing_per_A
            self._settings = self._settings.model_copy(update={'kspacing_per_A': kspacing_per_A})
        else:
            self._moves_start = True

    def _converge(self, atoms: Atoms, parameters: dict[str, Any], changes: tuple[str, ...]) -> None:
        self.attempts = ()

        def record(attempt: Attempt) -> None:
            self.attempts += (attempt,)

        converge(atoms, parameters, record, changes)


def other_start(moments: np.ndarray) -> np.ndarray:
    """Return initial magnetic moments in μB (n,) that differ from the given ones.

    If all moments have the same sign, the signs are made to alternate; otherwise, all moments become positive. A single
    moment is halved. A structure without moments starts with 1 μB per atom.
    """
    if not moments.any():
        return np.ones(len(moments))
    if (moments > 0).any() and (moments < 0).any():
        other: np.ndarray = np.abs(moments)
    elif np.count_nonzero(moments) > 1:
        other = moments * (-1.0) ** np.arange(len(moments))
    else:
        other = 0.5 * moments
    return other


def prepare(atoms: Atoms, settings: GPAWSettings) -> tuple[Atoms, dict[str, Any]]:
    """Return the structure that GPAW computes, and the parameters of GPAW for it.

    The structure has vacuum along non-periodic directions and no constraints. It has initial magnetic moments only if
    the calculation is spin-polarised. Calculations of one to three atoms in vacuum always are, because atoms with open
    shells are spin-polarised. With a dipole correction, a slab is not periodic along its vacuum and lies in the middle
    of the cell.
    """
    computed = atoms.copy()
    computed.set_constraint()
    if not atoms.pbc.all():
        computed.center(vacuum=settings.vacuum_A, axis=np.flatnonzero(~atoms.pbc))
    few_atoms = is_few_atoms(computed)
    spin_polarized = few_atoms or bool(settings.spin_polarized)
    if not spin_polarized:
        computed.set_initial_magnetic_moments(None)
    elif not atoms.get_initial_magnetic_moments().any():
        free = dict(zip(atoms.symbols, ground_state_magnetic_moments[atoms.numbers], strict=True)) if few_atoms else {}
        starts = free | settings.initial_magnetic_moments
        computed.set_initial_magnetic_moments([starts.get(symbol, 0.0) for symbol in atoms.symbols])
    extended = extended_directions(computed)
    parameters: dict[str, Any] = {
        'mode': {'name': 'pw', 'ecut': settings.plane_wave_cutoff_eV},
        'xc': settings.functional,
        'kpts': {'size': k_mesh(computed.cell, extended, settings.kspacing_per_A), 'gamma': True},
        'occupations': {'name': settings.smearing, 'width': settings.smearing_eV},
        'convergence': {'density': settings.scf_density},
        'maxiter': settings.max_scf_steps,
        'spinpol': spin_polarized,
        'charge': settings.charge or 0.0,
    }
    if settings.hubbard_U_eV:
        parameters['setups'] = {
            # The zero keeps GPAW from scaling U by the norm of the truncated partial waves.
            symbol: ':' + ';'.join(f'{shell},{value},0' for shell, value in shells.items())
            for symbol, shells in settings.hubbard_U_eV.items()
        }
    axis = axis_of_dipole(computed.cell.array, extended) if settings.dipole_correction else None
    if axis is not None:
        parameters['poissonsolver'] = {'dipolelayer': 'xyz'.replace('xyz'[axis], '')}
        move_to_middle(computed, axis)
        computed.pbc[axis] = False
    return computed, parameters


class GPAWLoader(CalculatorLoader):
    """Loads `SinglePointGPAW`."""

    settings_class = GPAWSettings
    settings: GPAWSettings
    package = 'gpaw'
    module = 'gpaw'
    extra = 'gpaw'
    known_elements = frozenset(VALENCE_ELECTRONS)
    uses_torch = False

    def check(self) -> str | None:
        """Check whether GPAW and, if it is used, the package of the dispersion correction are installed."""
        if self.settings.dispersion:
            check_dispersion()
        return super().check()

    def load(self) -> Loaded:
        """Return the calculator, and the elements for which setups are installed."""
        elements = frozenset(atomic_numbers[symbol] for symbol in self._setups())
        return Loaded(SinglePointGPAW(self.settings), elements=elements)

    @classmethod
    def settings_of_labels(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that change the results; the preset only determines other settings."""
        found = super().settings_of_labels(settings)
        undecided = {'spin_polarized': False, 'charge': 0.0}
        found |= {name: value for name, value in undecided.items() if found.get(name) is None}
        unused = {'preset', 'max_scf_steps'} if found.get('dispersion') else {'preset', 'max_scf_steps', 'dispersion'}
        # Earlier versions of `prepare` did not have this rule, and gave different energies for dimers and trimers.
        found['few_atoms'] = 'spin_polarized'
        return {name: value for name, value in found.items() if name not in unused}

    @classmethod
    def label_source(cls, settings: Mapping[str, Any], model: str | None) -> str:
        """Return the name of the level of theory, such as ``dft:gpaw:pbe``."""
        return f'dft:gpaw:{str(settings["functional"]).lower()}'

    def version(self) -> str | None:
        """Return the version of GPAW, a hash of its setups and, if it is used, the version of the dispersion."""
        own = super().version()
        if own is None:
            return None
        parts = [own, f'setups.{setups_sha256(self._setups())[:16]}']
        if self.settings.dispersion:
            with suppress(PackageNotFoundError):
                parts.append(f'{PACKAGE}.{version(PACKAGE)}')
        return '+'.join(parts)

    def _setups(self) -> dict[str, Path]:
        from gpaw import setup_paths

        return find_setups(setup_paths, self.settings.functional)


VARIANT = GPAWLoader
