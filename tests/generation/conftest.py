from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from aiida_mlip_autopipe.generation import GENERATORS, GenerationResult, GeneratorSettings, generate_seeds


def validate(*entries: dict[str, Any]) -> tuple[GeneratorSettings, ...]:
    return tuple(TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python(entries))


@pytest.fixture
def make_entries():
    """Validate entries as the config does."""
    return validate


@pytest.fixture
def generate():
    """Generate seeds from entries as dicts; `cutoff_A` is 0 by default, so that cells may be small."""

    def run(*entries: dict[str, Any], random_seed: int = 7, cutoff_A: float = 0.0, **slices: Any) -> GenerationResult:
        return generate_seeds(validate(*entries), random_seed=random_seed, cutoff_A=cutoff_A, **slices)

    return run
