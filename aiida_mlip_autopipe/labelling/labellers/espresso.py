"""Labels from density functional theory with Quantum ESPRESSO, through the plugin aiida-quantumespresso."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.labelling.base import LabellingSettings, ProcessLabeller, Variation
from aiida_mlip_autopipe.labelling.pseudopotentials import files_in, read_pseudopotential
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

VERSION = 'quantum_espresso'
"""Key of the version of the code in the versions from which a level of theory is made."""
# Settings that determine only whether and how fast the SCF cycle converges.
NOT_OF_LABELS = {'max_scf_steps', 'mixing_beta'}


class PwSettings(Settings):
    """The settings of ``pw.x`` that determine the labels or whether they converge."""

    functional: Literal['LDA', 'PBE', 'PBEsol'] = 'PBE'
    """Exchange-correlation functional. The pseudopotentials determine it, so they must have been generated with it."""
    plane_wave_cutoff_eV: float = Field(gt=0)
    """Plane-wave cutoff in eV, as required by the pseudopotentials."""
    density_cutoff_eV: float | None = Field(default=None, gt=0)
    """Charge-density cutoff in eV. The default, 8 times the plane-wave cutoff, suits ultrasoft and PAW
    pseudopotentials; 4 times is enough for norm-conserving ones."""
    kspacing_per_A: float = Field(default=0.3, gt=0)
    """Maximum k-point spacing in 1/Å, including the factor 2π, as in VASP's ``KSPACING``. The mesh is centred
    at Γ and has one k-point along non-periodic directions and across a vacuum."""
    scf_energy_eV: float = Field(default=1e-8, gt=0)
    """Convergence threshold of the total energy in eV per atom (``conv_thr``)."""
    max_scf_steps: int = Field(default=100, ge=1)
    """Maximum number of steps of the SCF cycle before it is restarted with different mixing."""
    mixing_beta: float = Field(default=0.4, gt=0, le=1)
    """Fraction of the new density that is mixed in at each step of the SCF cycle."""
    smearing: Literal['fermi-dirac', 'gaussian', 'marzari-vanderbilt'] = 'fermi-dirac'
    """Smearing function for the occupations."""
    smearing_eV: float = Field(default=0.1, gt=0)
    """Smearing width in eV."""
    energy: Literal['free_energy', 'extrapolated'] = 'free_energy'
    """The energy of the labels: the electronic free energy, whose derivatives are the forces and the stress, or its
    extrapolation to zero smearing width. With ``marzari-vanderbilt`` they are the same."""
    spin_polarized: bool | None = None
    """Whether the calculations are spin-polarised. By default, they are not, but structures with magnetic
    elements or initial moments are refused unless this is set. Two or three atoms in vacuum are always
    spin-polarised, like isolated atoms."""
    initial_magnetic_moments: dict[str, float] = Field(default_factory=dict)
    """Initial magnetic moment in μB of the atoms of each element; requires ``spin_polarized: true``. If the structure
    has initial moments, those are used instead."""
    hubbard_U_eV: dict[str, dict[Literal['p', 'd', 'f'], float]] = Field(default_factory=dict)
    """Effective Hubbard U in eV (Dudarev) of one shell of an element, such as ``{Fe: {d: 5.3}}``, with atomic
    projectors."""
    dispersion: bool = False
    """Whether to add Grimme's D3 dispersion correction with Becke-Johnson damping and the parameters of the
    functional."""
    charge: float | None = None
    """Total charge of each structure in units of the elementary charge. By default, it is 0, but structures whose
    initial charges do not sum to 0 are refused unless this is set."""
    dipole_correction: bool = True
    """Whether a dipole correction is applied to slabs whose cell vector across the vacuum is along a Cartesian axis and
    perpendicular to the other two. Labels of these slabs have no stress."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """Thickness in Å of the vacuum on each side of the structure along non-periodic directions."""

    @model_validator(mode='after')
    def _refuse_unused_values(self) -> Self:
        if self.initial_magnetic_moments and not self.spin_polarized:
            raise fault(Code.VALUES_INCOMPLETE, 'initial_magnetic_moments requires spin_polarized: true')
        if self.dispersion and self.functional == 'LDA':
            raise fault(Code.VALUES_EXCLUDE, 'dispersion has no parameters for the functional LDA')
        for symbol, shells in self.hubbard_U_eV.items():
            if len(shells) != 1:
                raise fault(Code.WRONG_LENGTH, f'hubbard_U_eV.{symbol} must name exactly one shell')
        return self

    def level_parameters(self) -> dict[str, Any]:
        """Return the settings that change the labels, with the values that are used where none is given."""
        defaults = {
            'density_cutoff_eV': self.density_cutoff_eV or 8 * self.plane_wave_cutoff_eV,
            'spin_polarized': bool(self.spin_polarized),
            'charge': self.charge or 0.0,
        }
        return self.model_dump(mode='json', exclude=NOT_OF_LABELS) | defaults


class EspressoLabelling(PwSettings, LabellingSettings):
    """Plane-wave density functional theory with Quantum ESPRESSO, with one process for each structure.

    ``PwBaseWorkChain`` of aiida-quantumespresso runs ``pw.x`` and restarts it if the SCF cycle does not converge.
    """

    kind: Literal['espresso'] = 'espresso'
    """Quantum ESPRESSO."""
    structures_per_job: Literal[1] = 1
    """Each process labels one structure."""
    pseudopotentials: dict[str, InputFile] = Field(default_factory=dict)
    """File of the pseudopotential of each element in the UPF format, such as ``Al: Al.pbe-n-kjpaw_psl.1.0.0.UPF``; or
    the path of a folder with one file for each element."""
    pseudopotential_family: str | None = Field(default=None, min_length=1)
    """Instead of ``pseudopotentials``, the name of a family in the profile, such as ``SSSP/1.3/PBE/efficiency``, which
    ``aiida-pseudo install`` creates."""

    @model_validator(mode='before')
    @classmethod
    def _list_folder(cls, fields: Any, info: ValidationInfo) -> Any:
        """Replace the path of a folder with the file of each element in it."""
        if not isinstance(fields, Mapping) or not isinstance(given := fields.get('pseudopotentials'), str):
            return fields
        folder = (info.context or {}).get('folder', Path()) / Path(given).expanduser()
        if not folder.is_dir():
            raise fault(Code.FOLDER_MISSING, f'pseudopotentials: no such folder exists: {folder}')
        try:
            files = files_in(folder)
        except AutopipeError as error:
            raise fault(error.code, f'pseudopotentials: {error}') from error
        return {**fields, 'pseudopotentials': {symbol: str(path.resolve()) for symbol, path in files.items()}}

    @model_validator(mode='after')
    def _check_pseudopotentials(self) -> Self:
        if bool(self.pseudopotentials) == bool(self.pseudopotential_family):
            raise fault(Code.VALUES_EXCLUDE, 'give either pseudopotentials or pseudopotential_family')
        return self

    def pw_settings(self) -> PwSettings:
        """Return the settings without the pseudopotentials and without those of all labellers."""
        return PwSettings(**self.model_dump(include=set(PwSettings.model_fields)))

    def refuse_unsuitable(self, symbol: str, path: Path) -> None:
        """Refuse a pseudopotential of another element or functional.

        Raises
        ------
        AutopipeError
            If the file is not a pseudopotential of this element and of the functional.
        """
        found = read_pseudopotential(path)
        where = f'labelling: the pseudopotential {path.name} of {symbol}'
        if found.element != symbol:
            raise AutopipeError(Code.SETTINGS_REFUSED, f'{where} belongs to {found.element}')
        if not found.has_functional(self.functional):
            generated_with = found.functional or 'an unknown functional'
            raise AutopipeError(
                Code.SETTINGS_REFUSED,
                f'{where} was generated with {generated_with}; labelling.functional is {self.functional}',
            )


class EspressoLabeller(ProcessLabeller):
    """Labels structures with Quantum ESPRESSO, one in each process."""

    settings_class = EspressoLabelling
    settings: EspressoLabelling
    variations: ClassVar[tuple[Variation, ...]] = ('mixing', 'k_points')

    def level(self, versions: dict[str, str]) -> LevelOfTheory:
        """Return the level of theory of the labels.

        Parameters
        ----------
        versions
            The version of the code under `VERSION`, and the sha256 of the pseudopotential of each element.
        """
        return pw_level(self.settings.pw_settings(), versions)


def pw_level(settings: PwSettings, versions: Mapping[str, str]) -> LevelOfTheory:
    """Return the level of theory of ``pw.x`` with some settings; see `EspressoLabeller.level`."""
    hashes = {name: value for name, value in sorted(versions.items()) if name != VERSION}
    return LevelOfTheory(
        method='dft',
        code='quantum-espresso',
        name=f'dft:quantum-espresso:{settings.functional.lower()}',
        parameters=settings.level_parameters() | {'version': versions[VERSION], 'potentials': hashes},
    )


VARIANT = EspressoLabeller
