"""Settings of a tension that acts on the cell."""

from __future__ import annotations

from pydantic import model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings


class TensionSettings(Settings):
    """A thermodynamic tension in GPa, with ASE's sign convention: a positive component stretches the cell.

    Its energy is ``-V₀ tr(t η)``, where ``η`` is the Lagrangian strain relative to the cell of the seed, and ``V₀`` the
    volume of the seed.
    """

    xx: float = 0.0
    """Component xx in GPa."""
    yy: float = 0.0
    """Component yy in GPa."""
    zz: float = 0.0
    """Component zz in GPa."""
    yz: float = 0.0
    """Shear component yz in GPa."""
    xz: float = 0.0
    """Shear component xz in GPa."""
    xy: float = 0.0
    """Shear component xy in GPa."""

    @property
    def components_GPa(self) -> tuple[float, ...]:
        """The six components in ASE's Voigt order."""
        return self.xx, self.yy, self.zz, self.yz, self.xz, self.xy

    @model_validator(mode='after')
    def _check_components(self) -> TensionSettings:
        if not any(self.components_GPa):
            raise fault(Code.VALUES_INCOMPLETE, 'a tension needs a component that is not zero')
        return self
