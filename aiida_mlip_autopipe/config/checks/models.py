"""Calculators whose model does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.exploration import CALCULATORS, CalculatorRefusedError, CalculatorSettings


def model_faults(path: str, calculator: CalculatorSettings) -> Iterator[Fault]:
    """Yield a fault for each calculator whose model does not exist.

    Parameters
    ----------
    path
        The place of the calculator in the config.
    calculator
        Its settings.
    """
    for number, member in enumerate(getattr(calculator, 'members', ())):
        yield from model_faults(f'{path}.members[{number}]', member)
    loader = CALCULATORS.make(calculator)
    try:
        loader.resolve_model()
    except CalculatorRefusedError as refused:
        # A package that is missing here is not a fault of the config, because the job may run in another environment.
        if refused.code == Code.MODEL_NOT_LOADED:
            model = getattr(calculator, 'model', '')
            nearest = next(iter(get_close_matches(model, loader.shipped_models, n=1)), None)
            yield Fault(refused.code, f'{path}.model', repr(model), str(refused), nearest)
