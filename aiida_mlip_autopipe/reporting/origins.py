"""Origins of the rows of a dataset: the calculators that explored and labelled them, their levels and licences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aiida_mlip_autopipe.calculators.licences import licence_of
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.labels import other_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS, Software
from aiida_mlip_autopipe.structures.rows.row import Row


def list_origins(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each combination of campaign, config, exploring and labelling software, with its ``n_rows``."""
    found = [_origin(row) for row in rows]
    texts = [json.dumps(one, sort_keys=True) for one in found]
    first = dict(zip(reversed(texts), reversed(found), strict=True))
    return [{'n_rows': n, **first[text]} for text, n in Counter(texts).most_common()]


def _origin(row: Row) -> dict[str, Any]:
    """Return the campaign or the imported file of a row, and what explored and what labelled it."""
    pairs = row.key_value_pairs
    if 'provenance' in row.data:
        stored = row.data['provenance']
        known = stored if 'explored' in stored else row.provenance.model_dump()
        explored, labelled = known['explored'], known['labelled']
    else:
        explored, labelled = {}, {name: pairs.get(name) for name in Software.model_fields}
    source = {name: pairs.get(name) for name in ('label_source', LEVEL)}
    extends = row.data.get('provenance', {}).get(EXTENDS)
    return {
        **{name: pairs.get(name) for name in ('file', 'file_sha256', 'campaign', 'random_seed', 'config_sha256')},
        **({} if extends is None else {EXTENDS: extends}),
        'explored': explored,
        'labelled': {**source, **labelled},
    }


def list_licences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the licences of the weights from which labels are derived. DFT labels are not derived from weights."""
    levels = find_levels(rows)
    models = Counter(
        (
            levels[row.level_hash].code if row.level_hash else row.key_value_pairs.get('architecture'),
            row.key_value_pairs.get('model'),
        )
        for row in rows
        if not row.level_hash or levels[row.level_hash].method == 'mlip'
    )
    return [
        {'architecture': architecture, 'model': model, **asdict(licence_of(str(architecture), model))}
        for architecture, model in models
    ]


def find_levels(rows: Sequence[Row]) -> dict[str, LevelOfTheory]:
    """Return the levels of theory of the rows by their hashes."""
    found: dict[str, LevelOfTheory] = {}
    for row in rows:
        if row.level_hash and row.level_hash not in found and (level := row.level) is not None:
            found[row.level_hash] = level
    return found


def count_levels(rows: Sequence[Row]) -> dict[str, int]:
    """Count the rows of each level of theory by its name, with its hash if two levels share a name."""
    return _count_names(find_levels(rows), [row.level_hash for row in rows])


def count_other_levels(rows: Sequence[Row]) -> dict[str, int]:
    """Count the rows that keep labels at each further level of theory; see `count_levels`."""
    others = [labels.level for row in rows for labels in other_labels(row).values()]
    hashes = [level.hash for level in others]
    return _count_names(dict(zip(hashes, others, strict=True)), hashes)


def _count_names(levels: Mapping[str, LevelOfTheory], hashes: Sequence[str]) -> dict[str, int]:
    names = Counter(level.name for level in levels.values())
    shown = {key: level.name if names[level.name] == 1 else f'{level.name} ({key})' for key, level in levels.items()}
    counts = Counter(shown.get(key, 'unknown') for key in hashes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
