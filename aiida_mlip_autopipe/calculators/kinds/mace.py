"""MACE, from a model file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    Describer,
    Loaded,
    ModelSettings,
    resolve_device,
)
from aiida_mlip_autopipe.core.fields import InputModel


class MACESettings(ModelSettings):
    """MACE. The package ships no models."""

    kind: Literal['mace'] = 'mace'
    """MACE."""
    model: InputModel
    """The model file."""
    cutoff_A: float = Field(default=6.0, gt=0)
    """Cutoff in Å. It is 6 Å for the foundation models MACE-MP-0, MPA-0 and OMAT-0."""
    head: str | None = None
    """The head to use, if the model has several."""
    dispersion: bool = False
    """Whether to add Grimme's D3 dispersion correction with Becke-Johnson damping. This needs the package
    ``torch-dftd``."""
    dispersion_functional: str = 'pbe'
    """Functional for which the dispersion correction is parametrised."""


class MACELoader(CalculatorLoader):
    """Loads MACE's ASE calculator."""

    settings_class = MACESettings
    settings: MACESettings
    package = 'mace-torch'
    module = 'mace'
    extra = 'mace'
    has_descriptors = True

    @classmethod
    def settings_of_labels(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the head, the dispersion and, only with dispersion, its functional."""
        found = super().settings_of_labels(settings)
        return found if found.get('dispersion') else {**found, 'dispersion_functional': None}

    def load(self) -> Loaded:
        """Return MACE's calculator."""
        from mace.calculators import MACECalculator

        device = resolve_device(self.settings.device)
        options = {} if self.settings.head is None else {'head': self.settings.head}
        calculator = MACECalculator(
            model_paths=str(self.model_file()), device=device, default_dtype=self.settings.dtype, **options
        )
        elements = frozenset(int(number) for number in calculator.z_table.zs)
        cutoff = float(calculator.r_max)
        if self.settings.dispersion:
            calculator = self._add_dispersion(calculator, device)
        return Loaded(calculator, device, self.settings.dtype, elements, cutoff)

    def load_describer(self) -> tuple[Loaded, Describer]:
        """Return MACE's calculator without dispersion, and a function for the invariant features of all its layers."""
        loaded = type(self)(self.settings.model_copy(update={'dispersion': False})).load()

        def describe(atoms: Atoms) -> np.ndarray:
            features: np.ndarray = loaded.calculator.get_descriptors(atoms, invariants_only=True)
            return features.reshape(len(atoms), -1)

        return loaded, describe

    def _add_dispersion(self, calculator: Any, device: str) -> Any:
        import torch
        from ase.calculators.mixing import SumCalculator
        from torch_dftd.torch_dftd3_calculator import TorchDFTD3Calculator

        dispersion = TorchDFTD3Calculator(
            device=device,
            damping='bj',
            xc=self.settings.dispersion_functional,
            dtype=torch.float64 if self.settings.dtype == 'float64' else torch.float32,
        )
        return SumCalculator([calculator, dispersion])


VARIANT = MACELoader
