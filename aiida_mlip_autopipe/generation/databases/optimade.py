"""Structures from databases that follow the OPTIMADE specification, through pymatgen's client."""

from __future__ import annotations

import contextlib
import io
import logging
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from pymatgen.ext.optimade import OptimadeRester

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.databases.query import MATERIALS_PROJECT, QuerySettings

TIMEOUT_S = 30
NOT_OPTIMADE = (Code.DATABASE_UNREACHABLE, 'does not follow the OPTIMADE specification; check its address')


class _Client(OptimadeRester):  # type: ignore[misc]
    """Pymatgen's client, which only logs errors. This class stores the last one."""

    def __init__(self, provider: str, max_structures: int):
        self.max_structures = max_structures
        self.failure: tuple[Code, str] | None = None
        self.n_received = 0
        super().__init__(provider, timeout=TIMEOUT_S)

    def _get_json(self, url: str) -> Any:
        self.failure = NOT_OPTIMADE  # unless the answer proves valid
        try:
            response = self.session.get(url, timeout=self._timeout)
            answer = response.json()
        except ValueError:
            self.failure = (
                Code.DATABASE_UNREACHABLE,
                f'returned status {response.status_code} and no JSON; check its name or address',
            )
            raise
        except OSError as error:
            self.failure = (
                Code.DATABASE_UNREACHABLE,
                f'cannot be reached ({type(error).__name__}); check its address and the network, or set files',
            )
            raise
        if response.status_code >= 400:
            self.failure = (
                Code.QUERY_REFUSED,
                f'refused the query ({response.status_code}{_reason(answer)}); correct the query',
            )
            raise ValueError(self.failure)
        if isinstance(answer['meta'], dict) and isinstance(answer['data'], list):
            self._receive(answer)
            self.failure = None
        elif url.endswith('/info'):
            self.failure = None
        return answer

    def _receive(self, answer: dict[str, Any]) -> None:
        """Count the structures of a page, and list the species of each site, as the client expects."""
        answer['links'] = answer.get('links') or {}
        self.n_received += len(answer['data'])
        n_found = max(self.n_received, answer['meta'].get('data_returned') or 0)
        if n_found > self.max_structures:
            self.failure = (
                Code.QUERY_TOO_BROAD,
                f'has at least {n_found} matching structures, more than max_structures={self.max_structures}; '
                'narrow the query or raise max_structures',
            )
            raise ValueError(self.failure)
        for entry in answer['data']:
            attributes = entry['attributes']
            with contextlib.suppress(KeyError, TypeError):  # the client discards incomplete entries
                species = {one['name']: one for one in attributes['species']}
                attributes['species'] = [species[name] for name in attributes['species_at_sites']]


def find_structures(query: QuerySettings) -> tuple[dict[str, Any], int]:
    """Return pymatgen structures from a database by id, and the number of unreadable ones.

    Raises
    ------
    AutopipeError
        If the database is unknown, does not answer, or has too many structures.
    """
    provider = query.provider
    if '://' in provider:
        provider = provider.rstrip('/') + '/'
    elif provider not in OptimadeRester.aliases:
        near = get_close_matches(provider, [*OptimadeRester.aliases, MATERIALS_PROJECT], 1)
        hint = f'; did you mean {near[0]!r}?' if near else f'; the known ones are {", ".join(OptimadeRester.aliases)}'
        raise AutopipeError(Code.CHOICE_UNKNOWN, f'the OPTIMADE database {provider!r} is unknown{hint}')
    log = logging.getLogger('pymatgen.ext.optimade')
    disabled, log.disabled = log.disabled, True
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # hides its progress bar
            client = _Client(provider, query.max_structures)
            found = client.get_structures_with_filter(quote(_filter(query))) if client.resources else {}
    finally:
        log.disabled = disabled
    if client.failure or not client.resources:
        code, reason = client.failure or NOT_OPTIMADE
        raise AutopipeError(code, f'the query to {query.provider} failed: the database {reason}')
    structures: dict[str, Any] = next(iter(found.values()), {})
    return structures, client.n_received - len(structures)


def _filter(query: QuerySettings) -> str:
    if query.filter:
        return query.filter
    if query.elements:
        names = ', '.join(f'"{symbol}"' for symbol in sorted(set(query.elements)))
        return f'elements HAS ALL {names} AND nelements={len(set(query.elements))}'
    formula = ''.join(f'{symbol}{count if count > 1 else ""}' for symbol, count in query.reduced_counts.items())
    return f'chemical_formula_reduced="{formula}"'


def _reason(answer: Any) -> str:
    """Return the server's reason for refusing the query."""
    try:
        first = answer['errors'][0]
        return f': {" ".join(str(first.get("detail") or first["title"]).split())}'
    except (KeyError, IndexError, TypeError):
        return ''
