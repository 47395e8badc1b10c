"""Any ASE calculator that can be imported."""

from __future__ import annotations

from collections.abc import Mapping
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
    """An ASE calculator, specified by its class."""

    kind: Literal['custom'] = 'custom'
    """Any ASE calculator class."""
    calculator: str = Field(pattern=r'^[A-Za-z_][\w.]*:[A-Za-z_]\w*$')
    """The class as ``module:Class``. The forces must depend only on the structure."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""
    distribution: str | None = None
    """Distribution that contains the class. Its version is recorded."""
    extra_sources: tuple[str, ...] = ()
    """Further code on which the results depend: names of modules and packages, or absolute paths of files. If any
    of this code or the module of the class changes, the results are computed again."""

    @field_validator('extra_sources')
    @classmethod
    def _refuse_relative_paths(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            is_module = all(part.isidentifier() for part in name.split('.'))
            if not is_module and not name.startswith(('/', '~/')):
                raise fault(Code.WRONG_PATTERN, f'{name!r} must be the name of a module or an absolute path')
        return names


class CustomLoader(CalculatorLoader):
    """Imports a class and creates a calculator from it."""

    settings_class = CustomSettings
    settings: CustomSettings

    def __init__(self, settings: CustomSettings):
        super().__init__(settings)
        self.module = settings.calculator.partition(':')[0]
        self.package = settings.distribution or self.module.partition('.')[0]

    @classmethod
    def settings_of_labels(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the class and its arguments. The sources are part of the level by their sha256."""
        return {name: settings[name] for name in ('calculator', 'parameters')}

    def sources(self) -> tuple[str, ...]:
        """Return the module of the class and the extra sources that the user names."""
        return (self.module, *self.settings.extra_sources)

    def model_name(self) -> str:
        """Return the name of the class, which identifies a custom calculator."""
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
        # Checked before the call, which would otherwise run any function with any arguments.
        if not (isinstance(calculator_class, type) and issubclass(calculator_class, Calculator)):
            raise CalculatorRefusedError(
                Code.SETTINGS_REFUSED, f"{self.settings.calculator} is not a subclass of ASE's Calculator"
            )
        return Loaded(calculator_class(**self.settings.parameters))


VARIANT = CustomLoader
