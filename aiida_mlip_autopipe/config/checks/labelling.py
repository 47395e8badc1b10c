"""Conflicts between the section ``labelling`` and the other sections of a config."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiida_mlip_autopipe.config.checks.models import model_faults
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.exploration import CalculatorSettings
from aiida_mlip_autopipe.exploration.novelty.setup import COMMITTEE_KIND
from aiida_mlip_autopipe.labelling import LABELLERS, LabellingSettings, RunnerLabeller

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


def _places(section: LabellingSettings) -> Iterator[tuple[str, CalculatorSettings]]:
    """Yield the calculator of the labels with its place in the config."""
    labeller = LABELLERS.make(section)
    if isinstance(labeller, RunnerLabeller):
        calculator = labeller.calculator_settings()
        is_nested = isinstance(getattr(section, 'calculator', None), CalculatorSettings)
        yield (f'{SECTION}.calculator' if is_nested else SECTION), calculator
