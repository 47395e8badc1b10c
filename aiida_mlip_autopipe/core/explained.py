"""Enumerations whose members have explanations."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ExplainedEnum(StrEnum):
    """A string with a meaning and a remedy.

    Attributes
    ----------
    meaning
        What is wrong, as one sentence.
    remedy
        What the user can do, as one sentence.
    """

    meaning: str
    remedy: str

    def __new__(cls, value: str, meaning: str, remedy: str) -> Self:
        """Return the member with this value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.remedy = remedy
        return member
