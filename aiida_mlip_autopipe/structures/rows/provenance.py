"""The origin of a row: everything that identifies its frame, its seed and its label."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.structures.rows.splits import Role, Split

# Prefixes of identifiers in the database. ASE refuses text that can be read as a number, such as an identifier that
# consists of digits.
SEED_PREFIX = 'seed-'
HASH_PREFIX = 'sha256:'
# Fields of `Software` that are hashes. In the database, they have this prefix.
HASHES = ('model_sha256', 'source_sha256')


def mlip_label_source(architecture: str, model: str | None) -> str:
    """Return the name of the level of theory of MLIP labels, such as ``mlip:sevennet:7net-0``."""
    return ':'.join(['mlip', architecture, *([model] if model else [])])


EXTENDS = 'extends'
"""Key of the campaign that a campaign extends."""
SOFTWARE = 'software'
"""Key of the software of labels that no job of this program computed, in the attributes of their node."""


class Software(Settings):
    """A calculator and the software of its job."""

    architecture: str
    """Kind of the calculator, such as ``sevennet``, or the DFT code."""
    model: str | None = None
    """Name of the model file or of the weights in the package, or the class of a custom calculator."""
    model_sha256: str | None = None
    """Hash of the model file."""
    package_version: str | None = None
    """Version of this package that ran the calculator, or that read the results of the DFT code."""
    ase_version: str | None = None
    """Version of ASE in the job."""
    calculator_version: str | None = None
    """Version of the calculator's package in the job, or of the DFT code."""
    torch_version: str | None = None
    """Version of torch in the job, if the calculator uses it."""
    numpy_version: str | None = None
    """Version of NumPy in the job."""
    scipy_version: str | None = None
    """Version of SciPy in the job."""
    environment: str | None = None
    """Identity of the environment record of the job: ``env-`` and 16 hexadecimal digits. The record contains the
    versions above, the device, the number of threads and the sources of a custom calculator."""
    source_sha256: str | None = None
    """Hash of the module of a custom calculator."""
    precision: str | None = None
    """Floating-point type of the model, such as ``float32``."""

    def key_value_pairs(self) -> dict[str, str]:
        """Return the searchable keys of the database: the known fields, with values that ASE accepts."""
        pairs = self.model_dump(exclude_none=True)
        return {key: searchable(HASH_PREFIX + text if key in HASHES else text) for key, text in pairs.items()}

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, Any]) -> Software | None:
        """Return the software from the searchable keys of a row; None if they do not name it."""
        if 'architecture' not in pairs:
            return None
        known = {key: str(pairs[key]) for key in cls.model_fields if key in pairs}
        return cls(**{key: _original(text).removeprefix(HASH_PREFIX) for key, text in known.items()})


class ExtendedCampaign(Settings):
    """The campaign that a campaign extends, and its dataset."""

    name: str
    """Name of the extended campaign."""
    uuid: str
    """UUID of the extended campaign."""
    dataset_uuid: str | None = None
    """UUID of its dataset. A campaign that ended early has none."""
    dataset_checksum: str | None = None
    """Checksum of the content of its dataset, as ``mlip-autopipe dataset info`` prints it."""


class Provenance(Settings):
    """The origin of a row."""

    campaign: str
    """Name of the campaign."""
    random_seed: int
    """The random seed of the campaign, from which all random streams are derived."""
    config_sha256: str
    """Hash of the config with its presets, overrides and defaults."""
    extends: ExtendedCampaign | None = Field(default=None, exclude_if=lambda campaign: campaign is None)
    """The campaign that this campaign extends, if there is one."""
    seed_id: str
    """Identity of the seed."""
    exploration: str
    """UUID of the exploration job that made the frame."""
    step: int = Field(ge=0)
    """Absolute step of the frame."""
    ensemble: str
    """The sampled ensemble, such as ``nvt``."""
    temperature_K: float | None = None
    """Instantaneous temperature of the frame."""
    target_temperature_K: float | None = None
    """Temperature of the thermostat, if there was one."""
    explored: Software
    """The calculator and the software that explored the frame."""
    labelled: Software
    """The calculator or the DFT code, and the software, that computed energy, forces and stress. It equals ``explored``
    unless the row was labelled again."""
    rank: int = Field(ge=0)
    """Position in the order of selection, from 0. Frames that were drawn at random are counted separately."""
    distance: float | None = None
    """Distance to the nearest frame that was selected earlier, if the sampler computes it."""
    gain: float | None = None
    """Gain from adding the frame to those selected earlier, in the sampler's measure, if it has one."""
    split: Split | None = None
    """The set that contains the row, if a set was held out of the selection: ``train``, ``valid`` or ``test``."""
    round: int | None = Field(default=None, ge=1, exclude_if=lambda number: number is None)
    """Number of the round in which the frame was explored, from 1, in a campaign with rounds."""
    role: Role | None = Field(default=None, exclude_if=lambda role: role is None)
    """Purpose of a frame that was drawn at random in a round: ``calibration`` of error bounds, after which it may be
    used for training, or ``test``. A row with the role ``test`` is always in the test set."""
    committee: str | None = None
    """Name of the level of theory of the second calculator that evaluated the frame, if there was one."""
    committee_environment: str | None = None
    """Identity of the environment record of the job of the second calculator."""
    committee_force_disagreement_eV_A: float | None = Field(default=None, ge=0)
    """Maximum difference between the two forces on an atom, eV/Å; an indicator, not an error bar."""
    committee_mean_force_disagreement_eV_A: float | None = Field(default=None, ge=0)
    """Mean difference between the two forces on an atom, eV/Å."""
    committee_relative_force_disagreement: float | None = Field(default=None, ge=0)
    """Sum of these differences divided by the sum of the mean norms of the forces: 0 if the two agree, at most 2."""
    committee_energy_difference_eV: float | None = None
    """Energy of the second calculator minus that of the label, eV per atom. It contains a constant for each
    composition."""
    label_source: str = Field(pattern=r'^(mlip|dft|unknown):.+')
    """Name of the level of theory of energy, forces and stress; by default, ``mlip:<architecture>:<model>``. Different
    levels may share a name; the key ``level`` distinguishes them."""

    @model_validator(mode='before')
    @classmethod
    def _complete(cls, fields: Any) -> Any:
        """Name the source of the labels, and read the fields of earlier versions, which had one block of software."""
        if not isinstance(fields, dict):
            return fields
        flat = {name: fields[name] for name in Software.model_fields if name in fields}
        if 'explored' not in fields and flat:
            fields = {name: value for name, value in fields.items() if name not in flat} | {'explored': flat}
        explored = fields.get('explored')
        if isinstance(explored, Software):
            explored = explored.model_dump()
        if not isinstance(explored, dict) or 'architecture' not in explored:
            return fields
        source = fields.get('label_source') or mlip_label_source(explored['architecture'], explored.get('model'))
        fields = fields | {'label_source': source}
        if 'labelled' not in fields:
            method, _, rest = str(source).partition(':')
            labelled = explored if method == 'mlip' else {'architecture': rest.partition(':')[0]}
            fields |= {'labelled': labelled}
        return fields

    def key_value_pairs(self) -> dict[str, str | int | float]:
        """Return the searchable keys of the database: the known fields, with values that ASE accepts.

        The keys for the software are those of ``labelled``.
        """
        pairs = (
            self.model_dump(exclude_none=True, exclude={'explored', 'labelled', 'extends'})
            | self.labelled.key_value_pairs()
        )
        pairs['seed'] = SEED_PREFIX + pairs.pop('seed_id')
        pairs['config_sha256'] = HASH_PREFIX + pairs['config_sha256']
        return {key: searchable(value) if isinstance(value, str) else value for key, value in pairs.items()}


@lru_cache(maxsize=10_000)
def searchable(text: str) -> str:
    """Return text for ASE's database. Text that can be read as a number or a Boolean gets an underscore as a prefix."""
    # This is the rule of `ase.db`, whose import takes half a second.
    try:
        float(text)
    except ValueError:
        return f'_{text}' if text in ('True', 'False') else text
    return f'_{text}'


def _original(text: str) -> str:
    """Return the text from which `searchable` made a value."""
    return text[1:] if text.startswith('_') and searchable(text[1:]) == text else text
