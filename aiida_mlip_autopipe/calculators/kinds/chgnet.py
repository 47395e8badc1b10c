"""CHGNet: a model file, or a universal potential that the package ships."""

from __future__ import annotations

from typing import Literal

from aiida_mlip_autopipe.calculators.base import (
    CalculatorLoader,
    Loaded,
    ModelSettings,
    resolve_device,
)
from aiida_mlip_autopipe.core.fields import InputModel

# The models that the package ships.
SHIPPED = {
    '0.3.0': 'pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar',
    '0.2.0': 'pretrained/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar',
    'r2scan': 'pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar',
}
LAST_ELEMENT = 94


class CHGNetSettings(ModelSettings):
    """CHGNet, for periodic structures."""

    kind: Literal['chgnet'] = 'chgnet'
    """CHGNet."""
    model: InputModel = '0.3.0'
    """A model file or a shipped model: ``0.3.0``, ``0.2.0`` or ``r2scan``."""
    cutoff_A: float = 6.0
    """Cutoff in Å. It is 6 Å for all shipped models."""
    dtype: Literal['float32'] = 'float32'
    """Floating-point type. The model uses single precision."""


class CHGNetLoader(CalculatorLoader):
    """Loads CHGNet's ASE calculator."""

    settings_class = CHGNetSettings
    settings: CHGNetSettings
    package = 'chgnet'
    module = 'chgnet'
    extra = 'chgnet'
    shipped_models = SHIPPED

    def load(self) -> Loaded:
        """Return CHGNet's calculator."""
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet

        device = resolve_device(self.settings.device)
        if self.uses_shipped_model:
            model = CHGNet.load(model_name=self.settings.model.lower(), use_device=device, verbose=False)
        else:
            model = CHGNet.from_file(str(self.model_file()))
        calculator = CHGNetCalculator(model, use_device=device, on_isolated_atoms='ignore')
        return Loaded(calculator, device, 'float32', frozenset(range(1, LAST_ELEMENT + 1)))


VARIANT = CHGNetLoader
