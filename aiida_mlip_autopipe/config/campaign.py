"""The model of the config file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticSerializationError

from aiida_mlip_autopipe.config.execution import AnyCalculator, ExecutionSettings
from aiida_mlip_autopipe.config.exploration import AnySection, ExplorationSection, merge_override
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import BY_CONTENT, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.yaml_file import yaml_text
from aiida_mlip_autopipe.exploration import CALCULATORS, AnyExploration, CalculatorSettings, read_exploration
from aiida_mlip_autopipe.generation import GENERATORS, GeneratorSettings, complete_elements, count_seeds
from aiida_mlip_autopipe.labelling import LABELLERS, LabellingSettings
from aiida_mlip_autopipe.rounds.settings import RoundsSettings
from aiida_mlip_autopipe.sampling import SamplingSettings, sampling_union, section_class
from aiida_mlip_autopipe.storage import StorageSettings
from aiida_mlip_autopipe.training.trainer import OF_THE_MODEL, TRAINERS, TrainerSettings

CONFIG_VERSION = 2
"""Version of the schema of config files. A change that makes older files invalid increases it."""

DEFAULT_KINDS = {'calculator': 'sevennet', 'sampling': 'environment'}
"""The default kind of each section that may omit its ``kind``."""

if TYPE_CHECKING:
    # The members of the unions are known only at run time.
    AnyGenerator = GeneratorSettings
    AnySampling = SamplingSettings
    AnyLabelling = LabellingSettings
    AnyTraining = TrainerSettings
else:
    AnyGenerator = GENERATORS.settings_union()
    AnySampling = sampling_union()
    AnyLabelling = LABELLERS.settings_union()
    AnyTraining = TRAINERS.settings_union()


MAX_NAME_LENGTH = 100
"""Maximum number of characters in the name of a campaign, which becomes part of file names."""


def _check_name(name: str) -> str:
    if len(name) > MAX_NAME_LENGTH:
        raise fault(Code.WRONG_LENGTH, f'must have at most {MAX_NAME_LENGTH} characters')
    if name.isdigit():
        raise fault(Code.WRONG_PATTERN, 'must not be a number, because commands would take it for the id of a campaign')
    if not re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9_-]*', name):
        suggestion = re.sub(r'[^A-Za-z0-9_-]+', '_', name).strip('_-')
        raise fault(
            Code.WRONG_PATTERN,
            'must contain only letters, digits, _ and -, and must not start with -',
            nearest=suggestion[:40] or None,
        )
    return name


def _check_version(version: int) -> int:
    if version > CONFIG_VERSION:
        raise fault(
            Code.SCHEMA_VERSION,
            f'this program reads config files up to version {CONFIG_VERSION}; update aiida-mlip-autopipe',
        )
    return version


class CampaignConfig(Settings):
    """A campaign: all settings for one dataset."""

    name: Annotated[str, AfterValidator(_check_name)]
    """Name of the campaign: at most 100 letters, digits, _ and -. It must not be a number or start with -."""
    schema_version: Annotated[int, AfterValidator(_check_version)] = Field(default=CONFIG_VERSION, ge=1)
    """Version of the schema that the file uses; by default, the current version."""
    random_seed: int = Field(default=0, ge=0, lt=2**63)
    """Number from which all random numbers of the campaign are derived. A different one gives a different dataset."""
    generation: Annotated[tuple[AnyGenerator, ...], AfterValidator(complete_elements)] = Field(min_length=1)
    """The systems for which seeds are generated: a list of entries, each with a ``kind``."""
    calculator: AnyCalculator = CALCULATORS.load(DEFAULT_KINDS['calculator']).settings_class.model_validate({})
    """The calculator that computes energies and forces; by default, SevenNet with a model that its package ships."""
    exploration: AnySection = ExplorationSection()
    """How each seed is explored: by molecular dynamics, which is the default, by displacements along normal modes, by a
    deformation, by a relaxation or by a single point. An entry of ``generation`` can change it for its seeds."""
    sampling: AnySampling = section_class(DEFAULT_KINDS['sampling']).model_validate({})
    """Which frames are selected; by default, frames that cover all local environments."""
    labelling: AnyLabelling | None = Field(default=None, exclude_if=lambda section: section is None)
    """How the selected structures are labelled with a reference method, such as DFT; by default, they keep the labels
    of the calculator."""
    training: AnyTraining | None = Field(default=None, exclude_if=lambda section: section is None)
    """How each round fine-tunes the model; requires ``rounds``. By default, ``model`` is the model of
    ``calculator``."""
    rounds: RoundsSettings | None = Field(default=None, exclude_if=lambda section: section is None)
    """Repeats exploration, selection, labelling and training until the model is good enough; by default, the frames are
    explored once and no model is trained."""
    storage: StorageSettings = StorageSettings()
    """Where the dataset is written."""
    execution: ExecutionSettings = ExecutionSettings()
    """Where and how the jobs run."""

    @property
    def calculators(self) -> tuple[CalculatorSettings, ...]:
        """The calculator of each code; without ``execution.codes``, the calculator of the campaign."""
        return tuple(one.calculator or self.calculator for one in self.execution.codes) or (self.calculator,)

    @property
    def cutoff_A(self) -> float:
        """The largest cutoff of the calculators in Å, which determines the size of the seeds."""
        return max(calculator.cutoff_A for calculator in self.calculators)

    @property
    def n_seeds(self) -> int:
        """Number of seeds that the entries request, including duplicates and skipped seeds."""
        return sum(self.count_seeds())

    @property
    def n_frames(self) -> int:
        """Maximum total number of frames that the explorations store."""
        return self.count_frames(self.count_seeds())

    def count_seeds(self) -> list[int]:
        """Return the number of seeds that each entry requests. For some kinds, this takes seconds."""
        return [count_seeds([entry]) for entry in self.generation]

    def count_frames(self, n_seeds: Sequence[int]) -> int:
        """Return the maximum total number of frames that the explorations store.

        Parameters
        ----------
        n_seeds
            Number of seeds of each entry.
        """
        return sum(n * self.exploration_of(number).n_frames for number, n in enumerate(n_seeds))

    def count_always_selected(self, n_seeds: Sequence[int]) -> int:
        """Return how many of the frames of `count_frames` are selected in addition to ``n_structures``.

        Parameters
        ----------
        n_seeds
            Number of seeds of each entry.
        """
        always = self.sampling.always_selected_kinds
        return self.count_frames([n if e.kind in always else 0 for n, e in zip(n_seeds, self.generation, strict=True)])

    def exploration_of(self, number: int) -> AnyExploration:
        """Return the exploration settings for the seeds of an entry.

        Parameters
        ----------
        number
            Index of the entry in ``generation``.
        """
        override = self.generation[number].exploration
        return read_exploration(merge_override(self.exploration, override)) if override else self.exploration

    @property
    def database(self) -> Path:
        """The file of the dataset."""
        return self.storage.database or Path(f'{self.name}.db')

    @model_validator(mode='before')
    @classmethod
    def _complete(cls, data: Any) -> Any:
        return complete_sections(data) if isinstance(data, Mapping) else data


def complete_sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """Add the default kinds, and remove empty sections so that their defaults apply.

    Parameters
    ----------
    data
        The content of a config file.
    """
    optional = {name for name, field in CampaignConfig.model_fields.items() if not field.is_required()}
    completed = {name: value for name, value in data.items() if value is not None or name not in optional}
    for section, kind in DEFAULT_KINDS.items():
        if isinstance(completed.get(section), Mapping):
            completed[section] = {'kind': kind} | completed[section]
    training, calculator = completed.get('training'), completed.get('calculator')
    if isinstance(training, Mapping) and isinstance(calculator, Mapping) and training.get('kind') == calculator['kind']:
        model = {name: value for name, value in calculator.items() if name in OF_THE_MODEL}
        completed['training'] = model | dict(training)
    return completed


def config_text(config: CampaignConfig) -> str:
    """Return a config with all values and defaults as YAML that can be read as a config file."""
    return yaml_text(config.model_dump(mode='json'))


def config_hash(config: CampaignConfig) -> str:
    """Return the sha256 of a config as canonical JSON, with all values and defaults, sorted keys and no spaces.

    Each file in the config is replaced by the sha256 of its content, and the path of the dataset is omitted. Therefore,
    the hash does not change when a campaign is moved to another folder.

    Raises
    ------
    AutopipeError
        If a file in the config cannot be read.
    """
    try:
        content = config.model_dump(mode='json', context={BY_CONTENT: True}, exclude={'storage': {'database'}})
    except PydanticSerializationError as error:
        raise AutopipeError(Code.FILE_UNREADABLE, f'a file in the config cannot be read: {error}') from error
    text = json.dumps(content, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
