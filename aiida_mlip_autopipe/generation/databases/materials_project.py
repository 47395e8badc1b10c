"""Structures from the Materials Project, through its client."""

from __future__ import annotations

import os
import warnings
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.databases.query import MATERIALS_PROJECT, QuerySettings

CHUNK = 1000
WITHOUT_KEY = 'use provider: mp, which queries the same database without a key'


def find_structures(query: QuerySettings) -> tuple[dict[str, Any], int]:
    """Return pymatgen structures from the Materials Project by id, and the number of unreadable ones, always 0.

    Raises
    ------
    AutopipeError
        If the client or the key is missing, the database does not answer, or it has too many structures.
    """
    from pymatgen.core import SETTINGS

    failed = f'the query to {MATERIALS_PROJECT} failed'
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f'{failed}: its client cannot be imported ({error}); '
            f"run pip install 'aiida-mlip-autopipe[materials-project]', or {WITHOUT_KEY}",
        ) from error
    key = os.environ.get('MP_API_KEY') or SETTINGS.get('PMG_MAPI_KEY')
    if not key:
        raise AutopipeError(
            Code.API_KEY_MISSING,
            f'{failed}: the API key is missing; set MP_API_KEY to your key from https://materialsproject.org/api, '
            f'or {WITHOUT_KEY}',
        )
    if query.elements:
        criteria = {'chemsys': '-'.join(sorted(set(query.elements)))}
    else:
        criteria = {'formula': ''.join(f'{symbol}{count}' for symbol, count in query.reduced_counts.items())}
    limit = query.max_structures + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with MPRester(key, mute_progress_bars=True) as client:
                found = client.materials.summary.search(
                    **criteria,
                    fields=['material_id', 'structure'],
                    chunk_size=min(limit, CHUNK),
                    num_chunks=-(-limit // CHUNK),
                )
    except Exception as error:  # the client raises its own errors, and those of requests and pydantic
        detail = '' if isinstance(error, OSError) else f': {" ".join(str(error).split())}'
        code = Code.DATABASE_UNREACHABLE if isinstance(error, OSError) else Code.QUERY_REFUSED
        raise AutopipeError(code, f'{failed}: {type(error).__name__}{detail}; check the key and the network') from error
    if len(found) >= limit:
        raise AutopipeError(
            Code.QUERY_TOO_BROAD,
            f'{failed}: it matches more structures than max_structures={query.max_structures}; '
            'narrow the query or raise max_structures',
        )
    return {str(entry.material_id): entry.structure for entry in found}, 0
