"""The level of theory of a set of DFT calculations: from their outputs, and from the settings of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dft.base import DftResult
from aiida_mlip_autopipe.storage.imports.levels import join_levels, level_of_inputs
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference


def join_calculations(calculations: Iterable[tuple[Path, Mapping[str, Any], DftResult]]) -> LevelOfTheory | None:
    """Return the common level of theory of calculations; None if there are none.

    Potentials and Hubbard parameters of all elements are joined, since each calculation contains only its own elements.

    Parameters
    ----------
    calculations
        The folder of each calculation, the content of its ``row.json`` and its result.

    Raises
    ------
    AutopipeError
        If two calculations differ in another field.
    """
    joined: LevelOfTheory | None = None
    requested = True
    for where, about, result in calculations:
        level = level_of_inputs(about, result.level)
        # Earlier versions did not write the settings, so the spacing is that of the mesh.
        requested &= about.get('settings') is not None
        if joined is None:
            joined = level
            continue
        try:
            joined = join_levels(joined, level, same_spacing=requested)
        except AutopipeError as error:
            raise AutopipeError(
                error.code,
                f'{where} has a different level of theory from the calculations before it: '
                f'{describe_difference(joined, level)}; label the rows of each level separately',
            ) from None
    return joined
