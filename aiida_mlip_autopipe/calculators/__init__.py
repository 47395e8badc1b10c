"""Calculators by their ``kind``, bound late: nothing is imported before a job needs it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    CalculatorRefusedError,
    CalculatorSettings,
)
from aiida_mlip_autopipe.core.registry import Registry, variants_in

CALCULATORS: Registry[CalculatorLoader] = Registry(
    'aiida_mlip_autopipe.calculators', variants_in('aiida_mlip_autopipe.calculators.kinds')
)


def resolve_model(settings: CalculatorSettings) -> Path | None:
    """Return the model file that settings name, without importing the calculator; None where there is no file.

    Raises
    ------
    CalculatorRefusedError
        If there is no such file, or no weights of that name.
    """
    return CALCULATORS.make(settings).resolve_model()


def installed_calculators() -> list[str]:
    """Return the kinds whose package is installed in this environment and that can be tested by their kind alone.

    Kinds that need a model file are included: their self-test checks the package only. ``custom`` is not included.
    """
    kinds = []
    for kind in CALCULATORS:
        loader = CALCULATORS.load(kind)
        required = {name for name, field in loader.settings_class.model_fields.items() if field.is_required()}
        if required <= {'kind', 'model'} and find_spec(loader.module.partition('.')[0]) is not None:
            kinds.append(kind)
    return kinds


__all__ = [
    'CALCULATORS',
    'CalculatorLoader',
    'CalculatorRefusedError',
    'CalculatorSettings',
    'installed_calculators',
    'resolve_model',
]
