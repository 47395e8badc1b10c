"""Monte Carlo moves by their ``kind``."""

from __future__ import annotations

from aiida_mlip_autopipe.core.registry import Registry
from aiida_mlip_autopipe.exploration.montecarlo.moves.base import Move, MoveRefusedError, MoveSettings, Trial

MOVES: Registry[Move] = Registry(
    'aiida_mlip_autopipe.moves',
    {
        'swap': 'aiida_mlip_autopipe.exploration.montecarlo.moves.swap:Swap',
        'displacement': 'aiida_mlip_autopipe.exploration.montecarlo.moves.displacement:Displacement',
        'volume': 'aiida_mlip_autopipe.exploration.montecarlo.moves.volume:Volume',
    },
)

__all__ = ['MOVES', 'Move', 'MoveRefusedError', 'MoveSettings', 'Trial']
