"""Sections of a config that tests of sampling are made with."""

from aiida_mlip_autopipe.sampling import SamplingSettings, section_class


def sampling(kind: str, **fields: object) -> SamplingSettings:
    """Return a validated ``sampling`` section."""
    return section_class(kind)(**fields)
