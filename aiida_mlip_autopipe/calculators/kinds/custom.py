"""Any ASE calculator that can be imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from pydantic import Field, field_validator

from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    CalculatorRefusedError,
    CalculatorSettings,
    Loaded,
)
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault


class CustomSettings(CalculatorSettings):
    """An ASE calculator by its class."""

    kind: Literal['custom'] = 'custom'
    """A class of one's own."""
    calculator: str = Field(pattern=r'^[A-Za-z_][\w.]*:[A-Za-z_]\w*$')
    """The class as ``module:Class``; its forces must depend on nothing but the structure."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for it."""
    distribution: str | None = None
    """The package that brings it, for the record of its version."""
    extra_sources: tuple[str, ...] = ()
    """Further code that its numbers depend on: names of modules and packages, or absolute paths of files. Changing
    any of them, or the calculator's own module, reruns the explorations."""

    @field_validator('extra_sources')
    @classmethod
    def _refuse_relative_paths(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            is_module = all(part.isidentifier() for part in name.split('.'))
            if not is_module and not name.startswith(('/', '~/')):
                raise fault(Code.WRONG_PATTERN, f'{name!r} must be the name of a module, or an absolute path')
        return names


class CustomLoader(CalculatorLoader):
    """Imports a class and makes a calculator of it."""

    settings_class = CustomSettings
    settings: CustomSettings

    def __init__(self, settings: CustomSettings):
        super().__init__(settings)
        self.module = settings.calculator.partition(':')[0]
        self.package = settings.distribution or self.module.partition('.')[0]

    def sources(self) -> tuple[str, ...]:
        """Return the module of the class and the extra sources that the user names."""
        return (self.module, *self.settings.extra_sources)

    def model_name(self) -> str:
        """Return the name of the class: nothing else distinguishes two custom calculators."""
        return self.settings.calculator

    def load(self) -> Loaded:
        """Return the calculator."""
        from ase.calculators.calculator import Calculator

        module, _, name = self.settings.calculator.partition(':')
        try:
            calculator_class = getattr(import_module(module), name)
        except AttributeError as error:
            raise CalculatorRefusedError(
                Code.CALCULATOR_MISSING, f'the module {module!r} has no class {name!r}'
            ) from error
        calculator = calculator_class(**self.settings.parameters)
        if not isinstance(calculator, Calculator):
            raise CalculatorRefusedError(Code.SETTINGS_REFUSED, f'{self.settings.calculator} is no ASE calculator')
        return Loaded(calculator)


VARIANT = CustomLoader
