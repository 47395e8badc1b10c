"""Compare the settings in the output of a calculation with those that its inputs requested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

# A smaller value than requested only makes the SCF cycle more accurate.
AT_MOST = ('EDIFF', 'conv_thr')
# DFT codes print numbers with few digits.
RELATIVE = 1e-4


def require_agreement(where: Path, requested: Mapping[str, Any], used: Mapping[str, Any]) -> None:
    """Refuse a calculation whose settings differ from those of the inputs that this program wrote.

    Parameters
    ----------
    where
        Folder of the calculation.
    requested
        The requested settings; None for a setting that was left to the code.
    used
        The settings in the output. Settings that it does not contain are not compared.

    Raises
    ------
    AutopipeError
        If settings differ. The message names each of them with both values.
    """
    differences = [
        f'{name}: {_shown(requested[name])} and {_shown(used[name])}'
        for name in requested
        if name in used and not _agrees(name, requested[name], used[name])
    ]
    if differences:
        raise AutopipeError(
            Code.CALCULATION_CHANGED, f'{where}: the inputs and the output differ in {"; ".join(differences)}'
        )


def _agrees(name: str, requested: Any, used: Any) -> bool:
    is_number = isinstance(requested, int | float) and isinstance(used, int | float)
    if name in AT_MOST and is_number:
        return bool(used <= requested * (1 + RELATIVE))
    if isinstance(requested, list) and isinstance(used, list):
        return len(requested) == len(used) and all(_agrees('', *pair) for pair in zip(requested, used, strict=True))
    if is_number:
        return math.isclose(requested, used, rel_tol=RELATIVE, abs_tol=1e-9)
    # Codes do not distinguish a setting that is off from one that is not given.
    return requested == used or (not requested and not used)


def _shown(value: Any) -> str:
    return 'not given' if value is None else f'{value:g}' if isinstance(value, float) else str(value)
