"""Where output goes: answers to stdout, errors and progress to stderr; no colours in a file or a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

# A file or a pipe has no width: lines are not broken there.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
error_console = Console(stderr=True, highlight=False, soft_wrap=True)
