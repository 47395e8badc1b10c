"""A slow EMT that writes a line to a file after each structure, so that tests can count what was computed."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT


class CountingEMT(EMT):
    """EMT that takes a while and then appends the hash of the positions to a file."""

    def __init__(self, log: str, delay_s: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._log, self._delay_s = Path(log), delay_s

    def calculate(self, atoms: Any = None, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *arguments, **kwargs)
        time.sleep(self._delay_s)
        with self._log.open('a') as file:
            file.write(hashlib.sha256(self.atoms.positions.tobytes()).hexdigest() + '\n')
