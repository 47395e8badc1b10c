"""What a person sees when something goes wrong, and with which status the program ends.

==== =============================================================
0    all is well
1    a bug of this program, or the reader of a pipe has gone
2    something that the user can mend, or a wrong command line
130  interrupted by Ctrl-C
==== =============================================================
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, ConfigError, Fault

EXIT_BUG = 1
EXIT_FAULT = 2
EXIT_INTERRUPTED = 130


class FaultTellingGroup(TyperGroup):
    """The commands of the program; an error in any of them becomes one sentence, with ``--debug`` a traceback too."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _tell('interrupted')
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            # Errors of the command line itself bring their own status and wording; a closed pipe needs no words.
            if hasattr(error, 'exit_code') or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            if ctx.params['debug']:
                traceback.print_exc()
            if isinstance(error, AutopipeError):
                _tell(_with_code(error))
                raise typer.Exit(EXIT_FAULT) from None
            reason = ' '.join(str(error).split())
            hint = '' if ctx.params['debug'] else '; `mlip-autopipe --debug …` shows where'
            _tell(f'this is a bug of mlip-autopipe: {type(error).__name__}: {reason}{hint}')
            raise typer.Exit(EXIT_BUG) from None


def _with_code(error: AutopipeError) -> str:
    faults: Sequence[AutopipeError | Fault] = (error,)
    if isinstance(error, ConfigError):
        faults = error.faults
    elif isinstance(error, CombinedError):
        faults = error.errors
    return '\n'.join(dict.fromkeys(f'{fault}  [{fault.code}]' for fault in faults))


def _tell(sentence: str) -> None:
    from aiida_mlip_autopipe.cli.console import error_console

    error_console.print(sentence, style='red', markup=False)
