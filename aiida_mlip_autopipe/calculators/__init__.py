"""Calculators by their ``kind``. Their packages are imported only when a job needs them."""

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
    """Return the model file that the settings name, without importing the calculator; None if it has no model.

    Raises
    ------
    CalculatorRefusedError
        If the file or the shipped model does not exist.
    """
    return CALCULATORS.make(settings).resolve_model()


def installed_calculators() -> list[str]:
    """Return the kinds that can be tested without settings and whose package is installed in this environment.

    Kinds that need a model file are included; their self-test checks only the package. ``custom`` is not included.
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
