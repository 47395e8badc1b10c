"""Checks of errors by code and by the values in the message. The sentences may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, ConfigError


@contextmanager
def refused(code: Code, *values: str) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error with a code and with each of the values in its message.

    Parameters
    ----------
    code
        The code of the error or, if several errors are reported together, of one of them.
    values
        Places, values and names that the message must contain, but no words of a sentence.
    """
    with pytest.raises((AutopipeError, ValidationError)) as caught:
        yield caught
    texts = [text for found, text in codes_and_messages(caught.value) if found == code]
    assert texts, f'the codes are {[str(found) for found, _ in codes_and_messages(caught.value)]}: {caught.value}'
    assert any(all(value in text for value in values) for text in texts), texts


def assert_refused(stderr: str, code: Code, *values: str) -> None:
    """Check that the command line reports an error on one line, with the code and each of the values.

    Parameters
    ----------
    stderr
        The error output of the command.
    code
        The code of the error.
    values
        Places, values and names that the line must contain, but no words of a sentence.
    """
    lines = [line for line in stderr.splitlines() if line.endswith(f'  [{code}]')]
    assert any(all(value in line for value in values) for line in lines), stderr


def codes_and_messages(error: BaseException) -> list[tuple[Code, str]]:
    """Return the code and the message of each error that an error combines."""
    if isinstance(error, ConfigError):
        return [(fault.code, str(fault)) for fault in error.faults]
    if isinstance(error, CombinedError):
        return [(one.code, str(one)) for one in error.errors]
    if isinstance(error, ValidationError):
        return [
            (one['ctx']['code'], f'{".".join(map(str, one["loc"]))}: {one["msg"]}')
            for one in error.errors()
            if 'code' in one.get('ctx', {})
        ]
    return [(error.code, str(error))] if isinstance(error, AutopipeError) else []
