"""Conflicts between the section ``labelling`` and the other sections of a config."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.config.checks.models import model_faults
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import CalculatorSettings
from aiida_mlip_autopipe.exploration.novelty.setup import COMMITTEE_KIND
from aiida_mlip_autopipe.labelling import LABELLERS, LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.labelling.suitability import Explorer, describe_missing_stress, labelling_warnings

SECTION = 'labelling'


def labelling_calculators(sections: Mapping[str, Any]) -> list[CalculatorSettings]:
    """Return the calculator of the labels, if a calculator of this program computes them.

    Parameters
    ----------
    sections
        The validated sections of a config; invalid sections are omitted.
    """
    section = sections.get(SECTION)
    return [] if section is None else [calculator for _, calculator in _places(section)]


def labelling_faults(sections: Mapping[str, Any], explorers: Collection[CalculatorSettings] = ()) -> Iterator[Fault]:
    """Yield the faults of the section.

    Parameters
    ----------
    sections
        The validated sections of a config; invalid sections are omitted.
    explorers
        The calculators of the explorations.
    """
    section = sections.get(SECTION)
    for place, calculator in [] if section is None else _places(section):
        yield from model_faults(place, calculator)
        if calculator.kind == COMMITTEE_KIND:
            yield Fault(Code.VALUE_INVALID, f'{place}.kind', repr(calculator.kind), 'must be a single calculator')
        if explorers and all(calculator == one for one in explorers):
            allowed = 'must differ from the calculator of the explorations, which has already labelled all frames'
            yield Fault(Code.VALUE_INVALID, place, f'kind {calculator.kind}', allowed)


def warn_of_labels(
    section: LabellingSettings | None, structures: Sequence[Atoms], explorers: Iterable[Explorer]
) -> list[str]:
    """Return the warnings of `labelling_warnings` about the section; none without the section.

    Parameters
    ----------
    section
        The section.
    structures
        The structures to label, or seeds of them.
    explorers
        The calculators that explored or will explore the structures.
    """
    if section is None:
        return []
    # The settings of a process labeller are those of its DFT code.
    places: Iterable[tuple[str, Settings]] = list(_places(section)) or [(SECTION, section)]
    return [text for place, dft in places for text in labelling_warnings(structures, explorers, dft, place=place)]


def warn_of_explored_stresses(structures: Sequence[Atoms], calculators: Iterable[CalculatorSettings]) -> list[str]:
    """Return a warning for each calculator of the explorations whose labels would have no stress.

    Parameters
    ----------
    structures
        Seeds of the structures.
    calculators
        The calculators of the explorations. The labels of a committee are those of its first member.
    """
    found = [
        describe_missing_stress(structures, getattr(one, 'members', (one,))[0], place='calculator')
        for one in calculators
    ]
    return list(dict.fromkeys(text for text in found if text is not None))


def explorers_of(calculators: Iterable[CalculatorSettings]) -> list[Explorer]:
    """Return what identifies the models of calculators."""
    return [
        Explorer(one.kind, None if (model := getattr(one, 'model', None)) is None else str(model), _fidelity(one))
        for calculator in calculators
        for one in getattr(calculator, 'members', (calculator,))
    ]


def _fidelity(calculator: CalculatorSettings) -> str | None:
    fidelity: str | None = getattr(calculator, 'modal', None)
    return fidelity


def _places(section: LabellingSettings) -> Iterator[tuple[str, CalculatorSettings]]:
    """Yield the calculator of the labels with its place in the config."""
    labeller = LABELLERS.make(section)
    if isinstance(labeller, RunnerLabeller):
        calculator = labeller.calculator_settings()
        is_nested = isinstance(getattr(section, 'calculator', None), CalculatorSettings)
        yield (f'{SECTION}.calculator' if is_nested else SECTION), calculator
