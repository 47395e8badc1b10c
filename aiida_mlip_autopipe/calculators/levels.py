"""The level of theory of the labels that a calculator computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from ase import Atoms

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.gpaw_setups import hard_elements
from aiida_mlip_autopipe.structures.rows.level import UNKNOWN_SETTINGS, LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import mlip_label_source


def level_of_calculator(
    settings: Mapping[str, Any] | None,
    kind: str,
    model: str | None = None,
    *,
    model_sha256: str | None = None,
    precision: str | None = None,
    version: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> LevelOfTheory:
    """Return the level of theory of the labels of a calculator.

    A model is identified by its sha256. If there is none, the version of the package of the calculator is part of the
    level. The labels of a committee are those of its first member, so the other members are not part of the level.

    Parameters
    ----------
    settings
        Settings of the calculator, as JSON; None if they were not recorded.
    kind
        Kind of the calculator, such as ``mace`` or ``committee``.
    model
        Name of the model file or of the shipped model, or the class of a custom calculator.
    model_sha256
        sha256 of the model file; for a committee, that of its first member.
    precision
        Floating-point type.
    version
        Version of the package of the calculator; for a committee, the names and versions of all packages.
    sources
        sha256 of the user's code (for a committee, that of all members), by the name of the module or the path of the
        file.
    """
    # The result of an exploration names the first member, that of an evaluation the committee.
    if settings is not None and settings.get('kind') == 'committee':
        settings, *others = settings['members']
        excluded = _sources_of(*others) - _sources_of(settings)
        sources = {name: sha256 for name, sha256 in (sources or {}).items() if name not in excluded}
        kind = str(settings['kind'])
        # A committee names its first member by its kind if this member has no model.
        model = None if model == kind else model
        version = version and version.partition(',')[0].rpartition(' ')[2]
    parameters: dict[str, Any] = {'model_sha256': model_sha256, 'precision': precision}
    if model_sha256 is None:
        parameters['calculator_version'] = version
    if sources:
        parameters['sources'] = _sources_by_file_name(sources)
    if settings is None:
        parameters['settings'] = UNKNOWN_SETTINGS
        return LevelOfTheory(method='mlip', code=kind, name=mlip_label_source(kind, model), parameters=parameters)
    loader = CALCULATORS.load(kind)
    name = loader.label_source(settings, model)
    method: Literal['mlip', 'dft'] = 'dft' if name.startswith('dft:') else 'mlip'
    parameters |= loader.settings_of_labels(settings)
    return LevelOfTheory(method=method, code=kind, name=name, parameters=parameters)


def has_accurate_stress(atoms: Atoms, level: LevelOfTheory) -> bool:
    """Return whether the stress of a label is accurate enough for training.

    GPAW's stress of hard elements is not, if the cutoff of the plane waves is small; see `hard_elements`.

    Parameters
    ----------
    atoms
        The structure.
    level
        The level of theory of the label.
    """
    cutoff_eV = level.parameters.get('plane_wave_cutoff_eV') if level.code == 'gpaw' else None
    return cutoff_eV is None or not hard_elements(atoms.symbols, cutoff_eV)


def _sources_by_file_name(sources: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Return the sha256 by the name of the file without its folder; a sorted list for files with the same name."""
    found: dict[str, list[str]] = {}
    for name, sha256 in sources.items():
        found.setdefault(PurePath(name).name, []).append(sha256)
    return {name: hashes[0] if len(hashes) == 1 else sorted(hashes) for name, hashes in found.items()}


def _sources_of(*calculators: Mapping[str, Any]) -> set[str]:
    """Return the names of the user's modules and files in the settings of calculators."""
    modules = {str(one.get('calculator', '')).partition(':')[0] for one in calculators}
    return modules.union(*(one.get('extra_sources') or () for one in calculators))
