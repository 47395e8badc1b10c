"""SevenNet: a model file, or a universal potential that the package ships."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from pydantic import Field

from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    Describer,
    Loaded,
    ModelSettings,
    resolve_device,
)
from aiida_mlip_autopipe.core.fields import InputModel
from aiida_mlip_autopipe.core.hashing import file_sha256

# The models that the package ships.
SHIPPED = {
    '7net-0': 'pretrained_potentials/SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth',
    '7net-0_22may2024': 'pretrained_potentials/SevenNet_0__22May2024/checkpoint_sevennet_0.pth',
    '7net-l3i5': 'pretrained_potentials/SevenNet_l3i5/checkpoint_l3i5.pth',
    '7net-mf-0': 'pretrained_potentials/SevenNet_MF_0/checkpoint_sevennet_mf_0.pth',
}


class SevenNetSettings(ModelSettings):
    """SevenNet."""

    kind: Literal['sevennet'] = 'sevennet'
    """SevenNet."""
    model: InputModel = '7net-0'
    """A checkpoint file or a shipped model: ``7net-0``, ``7net-0_22May2024``, ``7net-l3i5`` or ``7net-mf-0``."""
    cutoff_A: float = Field(default=5.0, gt=0)
    """Cutoff in Å. It is 5 Å for all shipped models."""
    modal: str | None = None
    """Fidelity of a multi-fidelity model, such as ``PBE`` or ``R2SCAN`` for ``7net-mf-0``."""
    dtype: Literal['float32'] = 'float32'
    """Floating-point type. The model uses single precision."""


class SevenNetLoader(CalculatorLoader):
    """Loads SevenNet's ASE calculator."""

    settings_class = SevenNetSettings
    settings: SevenNetSettings
    package = 'sevenn'
    module = 'sevenn'
    extra = 'sevennet'
    has_descriptors = True
    shipped_models = SHIPPED

    def load(self) -> Loaded:
        """Return the saved model. On a GPU, or if it cannot be saved, return SevenNet's own calculator."""
        device = resolve_device(self.settings.device)
        checkpoint = self.model_file()
        if device == 'cpu':
            from aiida_mlip_autopipe.calculators.sevennet_script import load_script

            try:
                scripted = load_script(checkpoint, file_sha256(checkpoint), self.settings.modal)
                return Loaded(scripted, device, 'float32', scripted.elements, scripted.cutoff)
            except Exception as error:
                # Some architectures cannot be saved. If the checkpoint is damaged, SevenNet reports it below.
                warnings.warn(f"SevenNet's own calculator is used, which starts more slowly: {error}", stacklevel=2)
        return self.load_original(device)

    def load_original(self, device: str) -> Loaded:
        """Return SevenNet's own calculator."""
        from sevenn.calculator import SevenNetCalculator

        with warnings.catch_warnings():
            # SevenNet recommends an accelerator every time it starts.
            warnings.simplefilter('ignore', UserWarning)
            calculator = SevenNetCalculator(str(self.model_file()), device=device, modal=self.settings.modal)
        elements = frozenset(int(number) for number in calculator.type_map)
        return Loaded(calculator, device, 'float32', elements, float(calculator.cutoff))

    def load_describer(self) -> tuple[Loaded, Describer]:
        """Return SevenNet's own calculator, and a function for the scalar node features after the last convolution."""
        loaded = self.load_original(resolve_device(self.settings.device))
        found: list[np.ndarray] = []
        # The input of the readout, which the saved model does not expose.
        readout = loaded.calculator.model.get_submodule('reduce_input_to_hidden')
        readout.register_forward_pre_hook(lambda module, data: found.append(data[0]['x'].detach().cpu().numpy()))

        def describe(atoms: Atoms) -> np.ndarray:
            found.clear()
            loaded.calculator.calculate(atoms, ['energy'], all_changes)
            return found[0]

        return loaded, describe


VARIANT = SevenNetLoader
