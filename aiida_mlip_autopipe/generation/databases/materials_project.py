"""Structures from the Materials Project, by its own client."""

from __future__ import annotations

import os
import warnings
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.databases.query import MATERIALS_PROJECT, QuerySettings

CHUNK = 1000
OTHERWISE = 'the provider mp asks the same database without a key'


def find_structures(query: QuerySettings) -> tuple[dict[str, Any], int]:
    """Return the structures that the Materials Project has, as pymatgen's, by their ids, and 0: all can be read.

    Raises
    ------
    AutopipeError
        If its client or a key is missing, it does not answer, or has more structures than the query allows.
    """
    from pymatgen.core import SETTINGS

    failed = f'the query to {MATERIALS_PROJECT} has no answer'
    try:
        from mp_api.client import MPRester
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f"{failed}: its client cannot be imported ({error}); pip install 'aiida-mlip-autopipe[materials-project]', "
            f'or {OTHERWISE}',
        ) from error
    key = os.environ.get('MP_API_KEY') or SETTINGS.get('PMG_MAPI_KEY')
    if not key:
        raise AutopipeError(
            Code.API_KEY_MISSING,
            f'{failed}: there is no key; put that of https://materialsproject.org/api into MP_API_KEY, or {OTHERWISE}',
        )
    if query.elements:
        question = {'chemsys': '-'.join(sorted(set(query.elements)))}
    else:
        question = {'formula': ''.join(f'{symbol}{count}' for symbol, count in query.reduced_counts.items())}
    limit = query.max_structures + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with MPRester(key, mute_progress_bars=True) as client:
                found = client.materials.summary.search(
                    **question,
                    fields=['material_id', 'structure'],
                    chunk_size=min(limit, CHUNK),
                    num_chunks=-(-limit // CHUNK),
                )
    except Exception as error:  # the client raises its own errors, those of requests and those of its checks
        told = '' if isinstance(error, OSError) else f': {" ".join(str(error).split())}'
        code = Code.DATABASE_UNREACHABLE if isinstance(error, OSError) else Code.QUERY_REFUSED
        raise AutopipeError(code, f'{failed}: {type(error).__name__}{told}; check the key and the network') from error
    if len(found) >= limit:
        raise AutopipeError(
            Code.QUERY_TOO_BROAD,
            f'{failed}: it has more structures than max_structures={query.max_structures}; '
            'narrow the query or raise max_structures',
        )
    return {str(entry.material_id): entry.structure for entry in found}, 0
