"""A stand-in for an OPTIMADE database: a local server that answers a few queries as the specification requires.

It compares complete filters and does not parse them. It tests the requests and how answers are read, but not how a real
database interprets a filter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

PAGE = 2
FIELDS = {'lattice_vectors', 'cartesian_site_positions', 'species', 'species_at_sites'}


def structure(
    name: str, symbols: Sequence[str], *, a_A: float = 4.0, concentration: float = 1.0, species: Sequence[str] = ()
) -> dict[str, Any]:
    """Return an entry with atoms on the diagonal of a cube. By default, the species are in alphabetical order."""
    n_sites = len(symbols)
    return {
        'id': name,
        'type': 'structures',
        'attributes': {
            'lattice_vectors': [[a_A, 0, 0], [0, a_A, 0], [0, 0, a_A]],
            'cartesian_site_positions': [[a_A * site / n_sites] * 3 for site in range(n_sites)],
            'species_at_sites': list(symbols),
            'species': [
                {'name': symbol, 'chemical_symbols': [symbol], 'concentration': [concentration]}
                for symbol in species or sorted(set(symbols))
            ],
        },
    }


@contextmanager
def serve(answers: dict[str, list[dict[str, Any]]], *, broken: tuple[int, bytes] | None = None) -> Iterator[str]:
    """Serve the entries of each filter in pages of two, and yield the address of the database.

    Parameters
    ----------
    answers
        Entries by filter. Other filters are refused.
    broken
        Status and content of every answer, instead of a valid one.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
            if broken:
                self.send(*broken)
            elif url.path == '/db/v1/info':
                self.send_json(200, {'data': {}, 'meta': {'provider': {'name': 'stand-in', 'prefix': 'x'}}})
            elif url.path != '/db/v1/structures':
                self.send_json(404, {'errors': [{'title': 'Not Found'}]})
            elif parameters['filter'] not in answers:
                self.send_json(400, {'errors': [{'title': 'Bad Request', 'detail': 'Unable to parse\n filter'}]})
            else:
                assert set(parameters['response_fields'].split(',')) == FIELDS
                self.send_page(parameters, answers[parameters['filter']])

        def send_page(self, parameters: dict[str, str], entries: list[dict[str, Any]]) -> None:
            first = int(parameters.get('page_offset', 0))
            next_page = None
            if first + PAGE < len(entries):
                query = '&'.join(f'{name}={quote(parameters[name])}' for name in ('filter', 'response_fields'))
                next_page = f'{address}v1/structures?{query}&page_offset={first + PAGE}'
            self.send_json(
                200,
                {
                    'data': entries[first : first + PAGE],
                    'meta': {'data_returned': len(entries), 'more_data_available': next_page is not None},
                    'links': {'next': next_page},
                },
            )

        def send_json(self, status: int, content: dict[str, Any]) -> None:
            self.send(status, json.dumps(content).encode())

        def send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        address = f'http://127.0.0.1:{server.server_port}/db/'
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield address
        finally:
            server.shutdown()
