"""What pydantic finds wrong with a config, one fault for each thing that a person would call wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aiida_mlip_autopipe.config.phrases import OTHER_TYPE, word_fault
from aiida_mlip_autopipe.errors import Fault


def faults_of(error: ValidationError, data: Any, model: type[BaseModel]) -> list[Fault]:
    """Return one fault for each thing that is wrong.

    Parameters
    ----------
    error
        What validation of the data raised.
    data
        The content of the file, as it was validated.
    model
        The model it was validated with.
    """
    found = [_Located(details, data) for details in error.errors(include_url=False)]
    faults = [fault for members in _by_place(found) for fault in _judge(members, model)]
    return list(dict.fromkeys(faults))


class _Located:
    """An error with its place in the file.

    Pydantic puts the members of unions into its paths; they are no part of the file. Those of a plain union are kept
    aside, because each member brings errors of its own for the one value.
    """

    def __init__(self, details: ErrorDetails, data: Any):
        self.details = details
        self.path: list[str | int] = []
        self.members: list[tuple[int, str]] = []
        """Length of the path where a member of a union was tried, and which."""
        node = data
        for number, key in enumerate(details['loc']):
            last = number == len(details['loc']) - 1
            if isinstance(node, Mapping) and key in node:
                self.path.append(key)
                node = node[key]
            elif isinstance(node, list | tuple) and isinstance(key, int):
                self.path.append(key)
                node = node[key] if key < len(node) else None
            elif last and details['type'] == 'missing':
                self.path.append(key)
            elif key != '[key]':
                self.members.append((len(self.path), str(key)))


def _by_place(found: Sequence[_Located]) -> Iterator[list[_Located]]:
    """Put the errors of the members of one plain union together."""
    tried: dict[tuple[str | int, ...], set[str]] = {}
    for error in found:
        for length, member in error.members:
            tried.setdefault(tuple(error.path[:length]), set()).add(member)
    places: dict[tuple[Any, ...], list[_Located]] = {}
    for number, error in enumerate(found):
        unions = [
            tuple(error.path[:length]) for length, _ in error.members if len(tried[tuple(error.path[:length])]) > 1
        ]
        places.setdefault(('union', *unions[0]) if unions else ('single', number), []).append(error)
    yield from places.values()


def _judge(errors: Sequence[_Located], model: type[BaseModel]) -> list[Fault]:
    """Return the faults of one place: of a plain union those of the member that was meant, if that is clear."""
    if len(errors) == 1:
        return list(_word(errors, model))
    by_member: dict[str, list[_Located]] = {}
    for error in errors:
        by_member.setdefault(error.members[0][1] if error.members else '', []).append(error)
    length = min(length for error in errors for length, _ in error.members)
    meant = [
        of_member
        for of_member in by_member.values()
        if not any(error.details['type'] in OTHER_TYPE and len(error.path) == length for error in of_member)
    ]
    if meant:
        return list(_word(min(meant, key=len), model))
    faults = list(_word(errors, model))
    allowed = list(dict.fromkeys(fault.allowed.removeprefix('must be ') for fault in faults))
    listed = ' or '.join(filter(None, (', '.join(allowed[:-1]), allowed[-1])))
    return [Fault(faults[0].path, faults[0].given, f'must be {listed}')]


def _word(errors: Sequence[_Located], model: type[BaseModel]) -> Iterator[Fault]:
    for error in errors:
        given, context = error.details['input'], error.details.get('ctx', {})
        # Pydantic does not count the entries that have a fault of their own.
        if error.details['type'] != 'too_short' or len(given) < context['min_length']:
            yield word_fault(error.details, error.path, model)
