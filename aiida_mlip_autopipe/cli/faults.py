"""Error messages on the command line, and the exit status of the program.

==== =============================================
0    success
1    a bug in this program, or a closed pipe
2    an error that the user can correct
130  interrupted by Ctrl-C
==== =============================================
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, ConfigError, Fault

RENAMED_OPTIONS = {
    '--test-share': '--test-fraction',
    '--valid-share': '--valid-fraction',
    'ancestor': 'parent',
}
"""Old names of options and of their values, with the new names."""

# Causes of an OSError that concern the writing of a file.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Errors after which the user has to free up space.
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Longest line of a message. Some messages quote values of files.
_MAX_LINE = 1000

EXIT_BUG = 1
EXIT_FAULT = 2
EXIT_INTERRUPTED = 130


class ErrorReportingGroup(TyperGroup):
    """The commands of the program. Errors are printed on one line each and, with ``--debug``, with the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _print_error('interrupted')
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            # Typer itself prints command-line errors, and a closed pipe needs no message.
            if hasattr(error, 'exit_code') or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                _add_new_names(error)
                raise
            if ctx.params['debug']:
                traceback.print_exc()
            known = error if isinstance(error, AutopipeError) else _explain(error)
            if known is not None:
                _print_error(with_codes(known))
                raise typer.Exit(EXIT_FAULT) from None
            reason = _shorten(' '.join(str(error).split()))
            hint = '' if ctx.params['debug'] else '; `mlip-autopipe --debug …` prints the traceback'
            _print_error(f'this is a bug in mlip-autopipe: {type(error).__name__}: {reason}{hint}')
            raise typer.Exit(EXIT_BUG) from None


def _explain(error: Exception) -> AutopipeError | None:
    """Return the message for an error of the system or of a damaged file; None for a bug."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        where = f'{error.filename}: ' if error.filename is not None else ''
        if error.errno in _FULL and error.filename is None:
            reason += f'; {_describe_disks()}'
        code = Code.FILE_UNWRITABLE if error.errno in _CANNOT_WRITE else Code.FILE_UNREADABLE
        return AutopipeError(code, f'{where}{reason[:1].lower()}{reason[1:]}')
    cause = error if isinstance(error, sqlite3.Error) else getattr(error, 'orig', None)  # SQLAlchemy wraps errors
    if isinstance(cause, sqlite3.Error):
        number = getattr(cause, 'sqlite_errorcode', None)
        is_unwritable = number in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
        code = Code.FILE_UNWRITABLE if is_unwritable else Code.FILE_UNREADABLE
        disks = f'; {_describe_disks()}' if number == sqlite3.SQLITE_FULL else ''
        return AutopipeError(code, f'a database cannot be read or written: {cause}{disks}')
    return None


def _describe_disks() -> str:
    """Return the free space of each file system to which the program writes.

    The errors of the system and of SQLite do not always name the file that could not be written.
    """
    from rich.filesize import decimal

    aiida = Path(os.environ.get('AIIDA_PATH', '').split(os.pathsep)[0] or '~').expanduser()
    free: dict[int, str] = {}  # by the number of the file system
    # `tempfile` cannot return its folder if the disk is full, and nothing is written to this one.
    temporary = Path(os.environ.get('TMPDIR', '/tmp'))  # nosec B108
    for folder in (Path.cwd(), aiida, temporary):
        if folder.is_dir():
            free.setdefault(folder.stat().st_dev, f'{decimal(shutil.disk_usage(folder).free)} in {folder}')
    return f'free space: {", ".join(free.values())}'


def _add_new_names(error: Any) -> None:
    """Add the new name to a command-line error about an old name."""
    words = re.findall(r'[\w-]+', getattr(error, 'message', ''))
    for old in RENAMED_OPTIONS.keys() & set(words):
        error.message = f'{error.message.rstrip(".")}. {old} is now called {RENAMED_OPTIONS[old]}.'
        error.possibilities = None


def with_codes(error: AutopipeError) -> str:
    """Return the message of an error, with the code of each fault in brackets at the end of its line."""
    faults: Sequence[AutopipeError | Fault] = (error,)
    if isinstance(error, ConfigError):
        faults = error.faults
    elif isinstance(error, CombinedError):
        faults = error.errors
    return '\n'.join(dict.fromkeys(f'{_shorten(str(fault))}  [{fault.code}]' for fault in faults))


def _shorten(text: str) -> str:
    return '\n'.join(
        line if len(line) <= _MAX_LINE else f'{line[:_MAX_LINE]} … ({len(line)} characters)'
        for line in text.split('\n')
    )


def _print_error(message: str) -> None:
    from aiida_mlip_autopipe.cli.console import error_console

    error_console.print(message, style='red', markup=False)
