"""The inputs of the processes of other plugins that label structures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.plugins import DataFactory, GroupFactory
from ase import Atoms

from aiida_mlip_autopipe.calculations.processes.espresso import KIND as ESPRESSO
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
from aiida_mlip_autopipe.core.hashing import stream_sha256
from aiida_mlip_autopipe.installation.plugin_versions import read_ase_versions, read_pw_version
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling.base import LABELLERS, LabellingSettings, ProcessLabeller
from aiida_mlip_autopipe.labelling.labellers.ase import AseLabelling
from aiida_mlip_autopipe.labelling.labellers.espresso import VERSION, EspressoLabelling
from aiida_mlip_autopipe.labelling.plugins.ase_script import script_settings
from aiida_mlip_autopipe.labelling.plugins.pw_inputs import refuse_hubbard
from aiida_mlip_autopipe.labelling.pseudopotentials import refuse_missing
from aiida_mlip_autopipe.labelling.suitability import find_undecided
from aiida_mlip_autopipe.workflows.inputs.codes import LOCAL_SCHEDULER, job_options, load_code


def process_inputs(
    settings: LabellingSettings, structures: Sequence[Atoms], resources: JobResources
) -> tuple[dict[str, Any], orm.Dict]:
    """Return the inputs of `ProcessLabellingWorkChain` that all structures share, and their level of theory.

    Parameters
    ----------
    settings
        The section ``labelling`` with the kind ``espresso`` or ``ase``.
    structures
        The structures to label.
    resources
        The resources of a job, if the settings name none.

    Raises
    ------
    AutopipeError
        If the code does not exist or does not run, its plugin is not installed, a pseudopotential is missing or
        unsuitable, or the settings do not suit a structure.
    """
    if settings.code is None:
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'labelling.code: the labeller {settings.kind!r} needs the code of its plugin, written as label@computer',
        )
    if isinstance(settings, EspressoLabelling):
        if faults := find_undecided(structures, settings):
            raise ConfigError(faults)
        ESPRESSO.process_class()  # refuses a missing plugin
        pseudos = pseudopotentials(settings, {symbol for atoms in structures for symbol in atoms.symbols})
        code = load_code(settings.code, 'labelling.code')
        versions = {VERSION: read_pw_version(code), **{symbol: _sha256(node) for symbol, node in pseudos.items()}}
        refuse_hubbard(settings, versions[VERSION])
        content = settings.pw_settings().model_dump(mode='json')
    else:
        assert isinstance(settings, AseLabelling)
        for atoms in structures:
            script_settings(atoms, settings.ase_settings())  # refuses moments and charges
        pseudos, code = {}, load_code(settings.code, 'labelling.code')
        versions = read_ase_versions(code, settings.calculator)
        content = settings.ase_settings().model_dump(mode='json')
        if settings.time_limit_s is not None and code.computer.scheduler_type == LOCAL_SCHEDULER:
            raise AutopipeError(
                Code.SETTINGS_REFUSED,
                f"labelling.time_limit_s: the labeller 'ase' needs a scheduler for a time limit, and "
                f'{code.computer.label} has none',
            )
    labeller = LABELLERS.make(settings)
    assert isinstance(labeller, ProcessLabeller)
    inputs: dict[str, Any] = {
        'kind': orm.Str(settings.kind),
        'settings': orm.Dict(content),
        'versions': orm.Dict(versions),
        'code': code,
        'options': mpi_options(settings.resources or resources, code.computer),
    }
    if settings.time_limit_s is not None:
        inputs['time_limit_s'] = settings.time_limit_s
    level = orm.Dict(labeller.level(versions).model_dump(mode='json'))
    return {**inputs, **({'pseudos': pseudos} if pseudos else {})}, level


def mpi_options(resources: JobResources, computer: orm.Computer) -> dict[str, Any]:
    """Return the AiiDA options of a job that runs an MPI process on each core."""
    options = job_options(resources, computer)
    n_processes = resources.cpus_per_job
    options['resources'] = {'num_machines': resources.nodes, 'num_mpiprocs_per_machine': n_processes}
    return {**options, 'withmpi': n_processes * resources.nodes > 1}


def pseudopotentials(settings: EspressoLabelling, elements: Collection[str]) -> Mapping[str, orm.Data]:
    """Return the node of the pseudopotential of each element: of all that the settings list, or those of the family.

    Raises
    ------
    AutopipeError
        If an element has none, or one was generated for another element or functional.
    """
    if settings.pseudopotential_family is not None:
        found = _of_family(settings.pseudopotential_family, elements)
    else:
        refuse_missing(settings.pseudopotentials, elements)
        upf = DataFactory('pseudo.upf')
        found = {symbol: _stored(upf, path) for symbol, path in sorted(settings.pseudopotentials.items())}
    for symbol, node in found.items():
        with node.as_path() as path:
            settings.refuse_unsuitable(symbol, path)
    return found


def _of_family(label: str, elements: Collection[str]) -> dict[str, orm.Data]:
    query = orm.QueryBuilder().append(GroupFactory('pseudo.family'), filters={'label': label})
    families = query.all(flat=True)
    if not families:
        raise AutopipeError(
            Code.FILE_MISSING,
            f'labelling.pseudopotential_family: the profile has no family {label!r}; add it with aiida-pseudo install',
        )
    refuse_missing(families[0].elements, elements)
    return {symbol: families[0].get_pseudo(element=symbol) for symbol in sorted(elements)}


def _stored(upf: type[orm.Data], path: Path) -> orm.Data:
    """Return the stored node of a pseudopotential with this content, or a new one."""
    found: orm.Data = upf.get_or_create(path)
    return found


def _sha256(node: orm.SinglefileData) -> str:
    with node.open(mode='rb') as stream:
        return stream_sha256(stream)
