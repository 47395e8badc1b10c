"""The family of the processor. Its instruction set determines the order in which numerical libraries add numbers."""

from __future__ import annotations

import platform
from pathlib import Path

# Fields of /proc/cpuinfo that identify a processor: on x86, on ARM, and on POWER.
FIELDS = ('vendor_id', 'cpu family', 'model', 'CPU implementer', 'CPU part', 'cpu')


def read_processor(cpuinfo: Path = Path('/proc/cpuinfo')) -> str:
    """Return the architecture of the processor and, if known, its vendor, family and model.

    Parameters
    ----------
    cpuinfo
        The file in which Linux describes the processors. The first one is used.
    """
    try:
        lines = cpuinfo.read_text(errors='replace').partition('\n\n')[0].splitlines()
    except OSError:
        return platform.machine()
    pairs = (line.partition(':') for line in lines)
    found = {name.strip(): value.strip() for name, _, value in pairs}
    known = [f'{name} {found[name]}' for name in FIELDS if name in found]
    return ', '.join([platform.machine(), *known])
