"""The ``sampling`` section of a config: the settings of a selection and of its sampler."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Union, cast

from pydantic import Field, create_model

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.sampling.base import SAMPLERS, SamplerSettings
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings


class SamplingSettings(SelectionSettings, SamplerSettings):
    """The fields of all ``sampling`` sections."""


def sampling_union() -> Any:
    """Return the type of the config field: the union of the sections of all samplers, discriminated by ``kind``."""
    models = tuple(section_class(kind) for kind in SAMPLERS)
    return Annotated[Union[models], Field(discriminator='kind')]  # noqa: UP007 (the members are known only at run time)


def section_class(kind: str) -> type[SamplingSettings]:
    """Return the settings class of the ``sampling`` section for a sampler, which may come from another package.

    Raises
    ------
    AutopipeError
        If the sampler does not exist, or one of its settings has the name of a setting of the selection.
    """
    return _combine(SAMPLERS.load(kind).settings_class)


@cache
def _combine(sampler: type[SamplerSettings]) -> type[SamplingSettings]:
    shared = sorted(set(sampler.model_fields) & set(SelectionSettings.model_fields))
    if shared:
        raise AutopipeError(
            Code.PLUGIN_BROKEN,
            f'{sampler.__name__}: a sampler must not define these fields of the selection: {", ".join(shared)}',
        )
    name = sampler.__name__.removesuffix('Settings') + 'Sampling'
    bases: Any = (sampler, SamplingSettings)
    combined = create_model(name, __base__=bases, __doc__=sampler.__doc__, __module__=sampler.__module__)
    return cast(type[SamplingSettings], combined)


def split_section(section: SamplingSettings) -> tuple[SelectionSettings, SamplerSettings]:
    """Return the settings of the selection and those of its sampler."""

    def part(model: type[Any]) -> Any:
        return model(**{name: getattr(section, name) for name in model.model_fields})

    return part(SelectionSettings), part(SAMPLERS.load(section.kind).settings_class)
