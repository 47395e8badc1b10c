"""The versions of the programs behind the codes of other plugins, read on their computers."""

from __future__ import annotations

import json
import re
from shlex import quote

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.labelling.plugins.ase_script import version_lines


def read_pw_version(code: orm.AbstractCode) -> str:
    """Return the version of ``pw.x``, such as ``6.7MaX``, which it prints before it reads its input.

    Raises
    ------
    AutopipeError
        If the program does not run on the login node of its computer.
    """
    output = _run(code, [])
    match = re.search(r'Program PWSCF\s+v\.(\S+)', output)
    if match is None:
        raise AutopipeError(
            Code.CODE_BROKEN, f'the code {code.full_label} does not start pw.x; its output ends with: {_end(output)}'
        )
    return match[1]


def read_ase_versions(code: orm.AbstractCode, calculator: str) -> dict[str, str]:
    """Return the versions of ASE and of the packages of a calculator, by name.

    Parameters
    ----------
    code
        The code, whose executable is the interpreter of an environment with ASE.
    calculator
        The calculator, as in the settings of the labeller ``ase``.

    Raises
    ------
    AutopipeError
        If the interpreter does not run or a package is missing.
    """
    output = _run(code, ['-c', '\n'.join([*version_lines(calculator), 'import json; print(json.dumps(versions))'])])
    try:
        versions: dict[str, str] = json.loads(output.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise AutopipeError(
            Code.CODE_BROKEN,
            f'the code {code.full_label} does not start a Python environment with the packages of {calculator}; its '
            f'output ends with: {_end(output)}',
        ) from error
    return versions


def _run(code: orm.AbstractCode, arguments: list[str]) -> str:
    """Return the output of a code without input, run as in its jobs but without the scheduler."""
    program = [*code.get_prepend_cmdline_params(), *code.get_executable_cmdline_params(arguments)]
    lines = [code.computer.get_prepend_text(), code.prepend_text, ' '.join(map(quote, program)) + ' < /dev/null']
    with code.computer.get_transport() as transport:
        # The program only prints its version there.
        _, output, errors = transport.exec_command_wait('\n'.join(lines), workdir='/tmp')  # nosec B108
    # If the program starts, its version is in stdout; otherwise, the reason is in stderr.
    return str(output if output.strip() else errors)


def _end(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else 'nothing'
