"""Conversion of pydantic's errors to the faults of a config, one for each mistake that the user made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.core.phrases import OTHER_TYPE, make_fault

_Place = tuple[str | int, ...]


def faults_of(error: ValidationError, data: Any, model: type[BaseModel]) -> list[Fault]:
    """Return one fault for each mistake.

    Parameters
    ----------
    error
        The validation error.
    data
        The content of the file.
    model
        The model that validated it.
    """
    found = [_Located(details, data) for details in error.errors(include_url=False)]
    unions = _unions(found)
    grouped: dict[_Place | int, list[_Located]] = {}
    for number, located in enumerate(found):
        places = (tuple(located.path[:length]) for length, _ in located.members)
        grouped.setdefault(next((place for place in places if place in unions), number), []).append(located)
    faults: list[Fault] = []
    for place, errors in grouped.items():
        faults += _make_faults(errors, model) if isinstance(place, int) else _union_faults(errors, place, model)
    return list(dict.fromkeys(faults))


class _Located:
    """An error with its place in the file.

    The locations of pydantic's errors contain the members of unions, which are not part of the file. They are stored
    separately, because each member of a plain union reports its own errors for the same value.
    """

    def __init__(self, details: ErrorDetails, data: Any):
        self.details = details
        self.path: list[str | int] = []
        self.members: list[tuple[int, str]] = []
        """The union members that were tried, each with the length of the path to its union."""
        node, is_kind_known = data, False
        for number, key in enumerate(details['loc']):
            last = number == len(details['loc']) - 1
            at_kind = isinstance(node, Mapping) and key == node.get('kind') and not is_kind_known
            is_kind_known = at_kind
            if at_kind:
                # The kind may also be a key, but pydantic names the member of a union first.
                self.members.append((len(self.path), str(key)))
            elif isinstance(node, Mapping) and key in node:
                self.path.append(key)
                node = node[key]
            elif isinstance(node, list | tuple) and isinstance(key, int):
                self.path.append(key)
                node = node[key] if key < len(node) else None
            elif last and details['type'] == 'missing':
                self.path.append(key)
            elif key != '[key]':
                self.members.append((len(self.path), str(key)))


def _unions(found: Sequence[_Located]) -> set[_Place]:
    """Return the places of plain unions for which more than one member was tried."""
    tried: dict[_Place, set[str]] = {}
    for error in found:
        for length, member in error.members:
            tried.setdefault(tuple(error.path[:length]), set()).add(member)
    return {place for place, members in tried.items() if len(members) > 1}


def _union_faults(errors: Sequence[_Located], place: _Place, model: type[BaseModel]) -> list[Fault]:
    """Return the faults of the best matching member or, if no member matches, one fault that lists all members."""
    by_member: dict[str, list[_Located]] = {}
    for error in errors:
        member = next(member for length, member in error.members if length == len(place))
        by_member.setdefault(member, []).append(error)
    intended = [
        of_member
        for of_member in by_member.values()
        if not any(error.details['type'] in OTHER_TYPE and len(error.path) == len(place) for error in of_member)
    ]
    if intended:
        return list(_make_faults(min(intended, key=len), model))
    faults = list(_make_faults(errors, model))
    allowed = list(dict.fromkeys(fault.allowed.removeprefix('must be ') for fault in faults))
    listed = ' or '.join(filter(None, (', '.join(allowed[:-1]), allowed[-1])))
    return [Fault(Code.TYPE_WRONG, faults[0].path, faults[0].given, f'must be {listed}')]


def _make_faults(errors: Sequence[_Located], model: type[BaseModel]) -> Iterator[Fault]:
    for error in errors:
        given, context = error.details['input'], error.details.get('ctx', {})
        # Pydantic does not count invalid entries, so the list may be long enough.
        if error.details['type'] != 'too_short' or len(given) < context['min_length']:
            yield make_fault(error.details, error.path, model)
