"""Labels from any calculator of this program, such as a large model that teaches a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aiida_mlip_autopipe.calculators import CALCULATORS, CalculatorSettings
from aiida_mlip_autopipe.labelling.base import LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.labelling.label import EnergyKind

if TYPE_CHECKING:
    # The members of the union are known only at run time.
    AnyCalculator = CalculatorSettings
else:
    AnyCalculator = CALCULATORS.settings_union()


class CalculatorLabelling(LabellingSettings):
    """A calculator of this program labels the structures."""

    kind: Literal['calculator'] = 'calculator'
    """A calculator of this program."""
    calculator: AnyCalculator
    """The calculator."""


class CalculatorLabeller(RunnerLabeller):
    """Labels many structures per job with a calculator of this program."""

    settings_class = CalculatorLabelling
    settings: CalculatorLabelling

    @property
    def energy(self) -> EnergyKind:
        """The energy of the labels; ``total`` unless the calculator has a setting for it."""
        chosen: EnergyKind = getattr(self.settings.calculator, 'energy', 'total')
        return chosen

    def calculator_settings(self) -> CalculatorSettings:
        """Return the settings of the calculator."""
        return self.settings.calculator


VARIANT = CalculatorLabeller
