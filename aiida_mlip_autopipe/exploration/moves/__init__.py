"""Monte Carlo moves by their ``kind``."""

from __future__ import annotations

from aiida_mlip_autopipe.exploration.moves.base import Move, MoveRefusedError, MoveSettings, Trial
from aiida_mlip_autopipe.registry import Registry

MOVES: Registry[Move] = Registry(
    'aiida_mlip_autopipe.moves',
    {
        'swap': 'aiida_mlip_autopipe.exploration.moves.swap:Swap',
        'displacement': 'aiida_mlip_autopipe.exploration.moves.displacement:Displacement',
        'volume': 'aiida_mlip_autopipe.exploration.moves.volume:Volume',
    },
)

__all__ = ['MOVES', 'Move', 'MoveRefusedError', 'MoveSettings', 'Trial']
