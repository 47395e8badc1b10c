"""A stand-in for the Materials Project: a local server that returns the same entries for all queries of its client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@contextmanager
def serve(entries: list[dict[str, Any]], paths: list[str]) -> Iterator[str]:
    """Serve the entries, append the requested paths to ``paths``, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            alive = {'status': 'OK', 'db_version': '2026', 'version': '0.86.0', 'access_controlled_batch_ids': None}
            answer = {'data': entries, 'meta': {'total_doc': len(entries), 'max_limit': 1000}}
            content = json.dumps(alive if 'heartbeat' in self.path else answer).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f'http://127.0.0.1:{server.server_port}/'
        finally:
            server.shutdown()
