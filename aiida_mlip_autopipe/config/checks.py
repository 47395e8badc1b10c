"""What is wrong between the parts of a config, each of which is right by itself, or between it and this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from aiida_mlip_autopipe.errors import AutopipeError, Fault
from aiida_mlip_autopipe.exploration import CALCULATORS, CalculatorRefusedError, CalculatorSettings
from aiida_mlip_autopipe.generation import GeneratorSettings, check_entry
from aiida_mlip_autopipe.seeds import Seed


def find_conflicts(sections: Mapping[str, Any]) -> list[Fault]:
    """Return the faults that no section shows alone.

    Parameters
    ----------
    sections
        The validated sections of a config; those with faults of their own are missing.
    """
    calculator = sections.get('calculator')
    faults = list(_model_faults(calculator)) if calculator is not None else []
    return faults + list(_seed_faults(sections.get('generation', ()), calculator))


def check_seeds(entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float) -> list[Seed | None]:
    """Return the first seed of each entry, so that what asks for the impossible is refused before anything runs.

    Raises
    ------
    AutopipeError
        With the entry's place in the config, if a seed cannot be made.
    """
    seeds = []
    for number, entry in enumerate(entries):
        try:
            seeds.append(check_entry(entry, random_seed=random_seed, cutoff_A=cutoff_A))
        except AutopipeError as error:
            raise AutopipeError(f'generation[{number}]: {error}') from error
    return seeds


def _model_faults(calculator: CalculatorSettings) -> Iterator[Fault]:
    loader = CALCULATORS.make(calculator)
    try:
        loader.resolve_model()
    except CalculatorRefusedError as refused:
        # That a package is missing here is no fault of the file: the job may run in another environment.
        if refused.refusal == 'model_not_loaded':
            model = getattr(calculator, 'model', '')
            nearest = get_close_matches(model, loader.shipped_models, n=1)
            yield Fault('calculator.model', repr(model), str(refused), nearest[0] if nearest else None)


def _seed_faults(entries: Sequence[GeneratorSettings], calculator: CalculatorSettings | None) -> Iterator[Fault]:
    known = None if calculator is None else CALCULATORS.load(calculator.kind).known_elements
    for number, entry in enumerate(entries):
        where = f'generation[{number}]'
        try:
            elements = entry.elements()
        except AutopipeError as error:
            yield Fault(where, f'kind {entry.kind}', str(error))
            continue
        if known is not None and calculator is not None and not elements <= known:
            allowed = f'the calculator {calculator.kind} knows {", ".join(sorted(known))} only'
            yield Fault(where, ', '.join(sorted(elements - known)), allowed)
