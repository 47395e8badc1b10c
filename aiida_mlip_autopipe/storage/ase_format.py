"""What ASE is told of the format of full trajectories, for `ase.io.read` and ``ase convert``.

ASE imports this module with its own list of formats, so it imports nothing else of this package.
"""

from __future__ import annotations

from ase.utils.plugins import ExternalIOFormat

full_trajectory_format = ExternalIOFormat(
    desc='full trajectory of mlip-autopipe',
    code='+B',
    module='aiida_mlip_autopipe.exploration.full_trajectory',
    magic=b'{"format": "mlip-autopipe full trajectory',
)
