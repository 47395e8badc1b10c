"""Several calculators: the first one provides the results; comparing all of them gives the disagreement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from pydantic import Field, model_validator

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import (
    OF_THE_MODEL,
    CalculatorLoader,
    CalculatorRefusedError,
    CalculatorSettings,
    Loaded,
    ModelSettings,
)
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.hashing import file_sha256

if TYPE_CHECKING:
    # The registry provides the members of the union only at run time.
    AnyMember = CalculatorSettings
else:
    AnyMember = CALCULATORS.settings_union(without={'committee'})


class CommitteeSettings(CalculatorSettings):
    """Several calculators. The first provides energies, forces and stresses; the others, a measure of disagreement."""

    kind: Literal['committee'] = 'committee'
    """A committee."""
    cutoff_A: float = Field(default=0.0, ge=0)
    """Cutoff in Å. The default is the largest cutoff of the members."""
    members: tuple[AnyMember, ...] = Field(min_length=2)
    """The calculators. Each one has the settings of its kind, except ``device``."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device of all members. ``auto`` selects a GPU if one is available."""

    @model_validator(mode='after')
    def _complete(self) -> CommitteeSettings:
        identities = [_identity(member) for member in self.members]
        for number, member in enumerate(self.members):
            if getattr(member, 'device', 'auto') != 'auto':
                raise fault(Code.VALUES_EXCLUDE, f'members[{number}].device has no effect; set device of the committee')
            if identities[number] in identities[:number]:
                raise fault(
                    Code.VALUE_INVALID,
                    f'members[{number}] is identical to an earlier member, so the two would never disagree',
                )
        largest = max(member.cutoff_A for member in self.members)
        # The model is frozen, but it is not yet in use.
        self.__dict__.update(cutoff_A=max(self.cutoff_A, largest))
        return self


def _identity(member: CalculatorSettings) -> tuple[dict[str, Any], str | None]:
    """Return the settings of a member without its model, and the sha256 of the model, or its name if it is missing."""
    settings = member.model_dump(mode='json', exclude=OF_THE_MODEL)
    if not isinstance(member, ModelSettings):
        return settings, None
    if member.model_sha256 is not None:
        return settings, member.model_sha256
    try:
        return settings, file_sha256(CALCULATORS.make(member).model_file())
    except CalculatorRefusedError:
        return settings, member.model


class Committee(Calculator):  # type: ignore[misc]
    """An ASE calculator with the results of its first member.

    Parameters
    ----------
    members
        ASE calculators.
    """

    def __init__(self, members: Iterable[Any]):
        super().__init__()
        self.members = tuple(members)
        common = set.intersection(*(set(member.implemented_properties) for member in self.members))
        self.implemented_properties = sorted(common & {'energy', 'free_energy', 'forces', 'stress'})

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute the results of the first member."""
        first = self.members[0]
        # ASE's SumCalculator has no method `reset`.
        getattr(first, 'reset', lambda: None)()
        first.calculate(atoms, properties, system_changes)
        self.results = first.results


class CommitteeLoader(CalculatorLoader):
    """Loads all members."""

    settings_class = CommitteeSettings
    settings: CommitteeSettings
    package = 'ase'
    module = 'ase'

    def __init__(self, settings: CommitteeSettings):
        super().__init__(settings)
        self.members = tuple(_make_loader(member, settings.device) for member in settings.members)
        self.uses_torch = any(member.uses_torch for member in self.members)
        known = [member.known_elements for member in self.members if member.known_elements is not None]
        self.known_elements = frozenset.intersection(*known) if known else None

    @property
    def labelling(self) -> CalculatorLoader:
        """The loader of the first member."""
        return self.members[0]

    def check(self) -> str | None:
        """Check the packages and the model files of all members. Return the sha256 of the first member's model."""
        sha256s = [member.check() for member in self.members]
        return sha256s[0]

    def version(self) -> str:
        """Return the versions of the members' packages."""
        versions = {member.package: member.version() for member in self.members}
        return ', '.join(f'{package} {version}' for package, version in versions.items())

    def sources(self) -> tuple[str, ...]:
        """Return the sources of all members."""
        return tuple(dict.fromkeys(source for member in self.members for source in member.sources()))

    def model_name(self) -> str:
        """Return the name of the model of the first member, or its kind if it has no model."""
        return self.labelling.model_name() or self.labelling.settings.kind

    def load(self) -> Loaded:
        """Return the committee. Its elements are those that all members support."""
        loaded = tuple(member.load() for member in self.members)
        elements = [one.elements for one in loaded if one.elements is not None]
        cutoffs = [one.cutoff_A for one in loaded if one.cutoff_A is not None]
        return Loaded(
            Committee(one.calculator for one in loaded),
            'cuda' if any(one.device == 'cuda' for one in loaded) else 'cpu',
            loaded[0].precision,
            frozenset.intersection(*elements) if elements else None,
            max(cutoffs, default=None),
            loaded,
        )


def _make_loader(settings: CalculatorSettings, device: str) -> CalculatorLoader:
    """Return the loader of a member. A member that runs only on the CPU keeps its device."""
    allowed = type(settings).model_json_schema()['properties'].get('device', {}).get('enum', ())
    return CALCULATORS.make(settings.model_copy(update={'device': device}) if device in allowed else settings)


VARIANT = CommitteeLoader
