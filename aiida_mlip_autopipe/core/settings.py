"""The base of all settings models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A part of the config: frozen, with no unknown key, no NaN and its fields documented by their docstrings."""

    model_config = ConfigDict(
        frozen=True, extra='forbid', allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )
