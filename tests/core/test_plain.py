import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from aiida_mlip_autopipe.core.plain import to_json, to_plain
from aiida_mlip_autopipe.core.settings import Settings


class Inner(Settings):
    cutoff_A: float = 5.0


@dataclass(frozen=True)
class Outcome:
    started: datetime
    elapsed_s: float
    inner: Inner
    paths: tuple[Path, ...]
    numbers: dict[int, object]


def test_the_json_of_a_result_has_the_same_values():
    started = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    numbers = {1: np.float64(0.1), 2: np.int64(7), 3: float('nan'), 4: np.array([1.0, np.inf]), 5: np.bool_(True)}
    plain = json.loads(to_json(Outcome(started, 0.25, Inner(), (Path('a/b.db'),), numbers)))
    assert datetime.fromisoformat(plain['started']) == started
    assert (plain['elapsed_s'], plain['inner'], plain['paths']) == (0.25, {'cutoff_A': 5.0}, ['a/b.db'])
    assert plain['numbers'] == {'1': 0.1, '2': 7, '3': None, '4': [1.0, None], '5': True}


def test_a_value_that_json_cannot_represent_is_refused():
    with pytest.raises(TypeError, match='set'):
        to_plain({'elements': {'Cu'}})
