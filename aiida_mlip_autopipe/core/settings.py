"""The base class of all settings models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A part of the config. It is frozen, refuses unknown keys and NaN, and its fields are described by docstrings."""

    model_config = ConfigDict(
        frozen=True, extra='forbid', allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )
