from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings

SOURCE = Path(__file__).parents[2] / 'docs' / 'extensions' / 'schema_reference.py'


class Oven(Settings):
    """An appliance that heats food."""

    kind: Literal['oven'] = 'oven'
    """An oven."""
    temperature_K: float = Field(default=300.0, gt=0)
    """Temperature in K."""


class Kitchen(Settings):
    """A kitchen with its ovens."""

    name: str
    """Name of the kitchen."""
    ovens: tuple[Oven, ...] = ()
    """Ovens in the kitchen."""
    owner: str | None = None


@pytest.fixture
def reference() -> Any:
    spec = importlib.util.spec_from_file_location('schema_reference', SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SchemaReference(Kitchen.model_json_schema())


def test_an_entry_contains_path_type_default_bounds_and_docstring(reference: Any) -> None:
    text = reference.render()
    assert '`ovens[].temperature_K`\n: number · default `300.0` · > `0`\n\n  Temperature in K.' in text
    assert '`name`\n: string · **required**\n\n  Name of the kitchen.' in text


def test_a_model_has_a_section_that_its_field_links_to(reference: Any) -> None:
    text = reference.render()
    assert '`ovens`\n: list of [oven](#config-oven)' in text
    assert '(config-oven)=\n## `ovens[]` of kind `oven`\n\nAn appliance that heats food.' in text


def test_a_field_without_a_docstring_is_reported(reference: Any) -> None:
    reference.render()
    assert reference.undocumented == ['owner']
