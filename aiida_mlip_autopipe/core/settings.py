"""The base class of all settings models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A part of the config. It is frozen, and it refuses unknown keys and NaN. Docstrings describe its fields."""

    model_config = ConfigDict(
        frozen=True, extra='forbid', allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )
