"""The entry for full trajectories in ASE's list of formats, for `ase.io.read` and ``ase convert``.

ASE imports this module together with its formats, so this module imports nothing else from the package.
"""

from __future__ import annotations

from ase.utils.plugins import ExternalIOFormat

full_trajectory_format = ExternalIOFormat(
    desc='full trajectory of mlip-autopipe',
    code='+B',
    module='aiida_mlip_autopipe.exploration.full_trajectory',
    magic=b'{"format": "mlip-autopipe full trajectory',
)
