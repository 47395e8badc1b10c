"""Where a row came from: everything that is needed to find its frame, its seed and its label again."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.structures.splits import Split

# Keys of the database whose names differ from the fields' or whose values get a prefix: an identifier made of
# digits alone would be a number to ASE, which refuses it.
SEED_PREFIX = 'seed-'
HASH_PREFIX = 'sha256:'


def mlip_label_source(architecture: str, model: str | None) -> str:
    """Return the name of the level of theory of an MLIP's labels, as ``mlip:sevennet:7net-0``."""
    return ':'.join(['mlip', architecture, *([model] if model else [])])


class Provenance(Settings):
    """Where a row came from."""

    campaign: str
    """Name of the campaign."""
    random_seed: int
    """The number that all random streams of the campaign derive from."""
    config_sha256: str
    """Hash of the composed config."""
    seed_id: str
    """Identity of the seed."""
    exploration: str
    """UUID of the exploration job that made the frame."""
    step: int = Field(ge=0)
    """Absolute step of the frame."""
    ensemble: str
    """The ensemble that was sampled, as ``nvt``."""
    temperature_K: float | None = None
    """Instantaneous temperature of the frame."""
    target_temperature_K: float | None = None
    """Temperature of the thermostat, where there was one."""
    architecture: str
    """Kind of the calculator that made the label, as ``sevennet``."""
    model: str | None = None
    """Name of the model file or of the shipped weights; the class of a custom calculator."""
    model_sha256: str | None = None
    """Hash of the model file."""
    package_version: str
    """Version of this package."""
    ase_version: str | None = None
    """Version of ASE in the job."""
    calculator_version: str | None = None
    """Version of the calculator's package in the job."""
    torch_version: str | None = None
    """Version of torch in the job, where the calculator uses it."""
    numpy_version: str | None = None
    """Version of NumPy in the job."""
    scipy_version: str | None = None
    """Version of SciPy in the job."""
    environment: str | None = None
    """Identity of the job's environment record, ``env-`` and 16 hexadecimal digits; the record has the versions above,
    device, threads and the sources of a custom calculator."""
    source_sha256: str | None = None
    """Hash of the module of a custom calculator."""
    precision: str | None = None
    """Floating point type of the model, as ``float32``."""
    rank: int = Field(ge=0)
    """Place in the order of selection, from 0."""
    distance: float | None = None
    """Distance to the frames selected before, where the sampler has one."""
    gain: float | None = None
    """What it added to the frames selected before, in the sampler's own measure, where it has one."""
    split: Split | None = None
    """What the row is for, where a set was held out of the selection: ``train``, ``valid`` or ``test``."""
    committee: str | None = None
    """Level of theory of the second calculator that looked at the frame, where there was one."""
    committee_environment: str | None = None
    """Identity of the environment record of the second calculator's job."""
    committee_force_disagreement_eV_A: float | None = Field(default=None, ge=0)
    """Largest difference of the two forces on an atom, eV/Å; an indicator, not an error bar."""
    committee_mean_force_disagreement_eV_A: float | None = Field(default=None, ge=0)
    """Mean difference of the two forces on an atom, eV/Å."""
    committee_relative_force_disagreement: float | None = Field(default=None, ge=0)
    """Sum of these differences over the sum of the forces' mean sizes: 0 where the two agree, 2 at most."""
    committee_energy_difference_eV: float | None = None
    """Energy of the second calculator less that of the label, eV per atom; a constant of each composition is in it."""
    label_source: str = Field(pattern=r'^(mlip|dft):.+')
    """Level of theory of energy, forces and stress; by default ``mlip:<architecture>:<model>``."""

    @model_validator(mode='before')
    @classmethod
    def _name_label_source(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and 'architecture' in fields and 'label_source' not in fields:
            return fields | {'label_source': mlip_label_source(fields['architecture'], fields.get('model'))}
        return fields

    def key_value_pairs(self) -> dict[str, str | int | float]:
        """Return what the database can be searched for: the fields that are known, in words that ASE accepts."""
        pairs = self.model_dump(exclude_none=True)
        pairs['seed'] = SEED_PREFIX + pairs.pop('seed_id')
        for key in ('config_sha256', 'model_sha256', 'source_sha256'):
            if key in pairs:
                pairs[key] = HASH_PREFIX + pairs[key]
        return {key: searchable(value) if isinstance(value, str) else value for key, value in pairs.items()}


def searchable(text: str) -> str:
    """Return text as ASE's database accepts it: an underscore comes before what reads as a number or a truth value."""
    from ase.db.core import str_represents

    return f'_{text}' if any(str_represents(text, kind) for kind in (bool, int, float)) else text
