"""The command line: ``mlip-autopipe``."""

from aiida_mlip_autopipe.cli.app import main

__all__ = ['main']
