"""The format of full trajectories for ASE, so that `ase.io.read` and ``ase convert`` can read them.

ASE imports this module together with its own formats, so the module imports nothing else from the package.
"""

from __future__ import annotations

from ase.utils.plugins import ExternalIOFormat

full_trajectory_format = ExternalIOFormat(
    desc='full trajectory of mlip-autopipe',
    code='+B',
    module='aiida_mlip_autopipe.exploration.full_trajectory',
    magic=b'{"format": "mlip-autopipe full trajectory',
)
