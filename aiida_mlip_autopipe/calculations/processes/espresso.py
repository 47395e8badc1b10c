"""Labels from Quantum ESPRESSO: ``PwBaseWorkChain`` of aiida-quantumespresso, and the calcfunctions around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.exceptions import EntryPointError
from aiida.engine import ExitCode, Process, calcfunction
from aiida.plugins import DataFactory, WorkflowFactory
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.calculations.processes.base import (
    ERROR_REFUSED,
    Nodes,
    ProcessKind,
    failure_from,
    label_from,
    labels_node,
    structure_of,
)
from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.labelling.label import Failure, Label, Rule
from aiida_mlip_autopipe.labelling.labellers.espresso import VERSION, PwSettings, pw_level
from aiida_mlip_autopipe.labelling.plugins.pw_inputs import (
    PwInputs,
    add_hubbard,
    pw_inputs,
    pw_inputs_of_atom,
    uses_hubbard_card,
)
from aiida_mlip_autopipe.structures.rows.provenance import Software

# The extrapolation to zero smearing width adds this fraction of TS to the free energy E - TS. With cold smearing, the
# free energy has no second-order dependence on the width: N. Marzari et al., Phys. Rev. Lett. 82, 3296 (1999).
EXTRAPOLATION = {'fermi-dirac': 0.5, 'gaussian': 0.5, 'marzari-vanderbilt': 0.0}
# Exit codes of PwCalculation.
OUT_OF_WALLTIME, NOT_CONVERGED = 400, 410
# What a restart changes, by namelist and parameter.
CHANGES = {
    ('ELECTRONS', 'mixing_beta'): 'mixing',
    ('SYSTEM', 'nbnd'): 'bands',
    ('ELECTRONS', 'diagonalization'): 'diagonalization',
}


@calcfunction
def prepare_pw(
    item: orm.Data,
    settings: orm.Dict,
    versions: orm.Dict,
    valences: orm.Dict,
    variant: orm.Str,
    stage_version: orm.Str,
    dataset: DatasetData | None = None,
) -> Mapping[str, orm.Data] | ExitCode:
    """Make the inputs of ``PwBaseWorkChain`` for a structure or an isolated atom.

    Parameters
    ----------
    item
        The index of a row (``Int``), or the symbol of an isolated atom (``Str``).
    settings
        The settings of `PwSettings`.
    versions
        The version of the code and the hashes of the pseudopotentials, as in the level of theory.
    valences
        Number of valence electrons of the pseudopotential of each element.
    variant
        What a repeated calculation changes.
    stage_version
        Version of this function; increased when its results change.
    dataset
        The dataset.

    Returns
    -------
    dict
        ``structure``, ``parameters`` and ``kpoints``.
    """
    chosen = PwSettings(**settings.get_dict())
    try:
        if isinstance(item, orm.Str):
            found = pw_inputs_of_atom(item.value, chosen, valences.get_dict())
        else:
            found = pw_inputs(structure_of(dataset, item), chosen, valences.get_dict(), variant.value)
        structure = _structure(found, versions[VERSION])
    except AutopipeError as error:
        return ExitCode(ERROR_REFUSED, str(error), invalidates_cache=True)
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(found.mesh)
    return {'structure': structure, 'parameters': orm.Dict(found.parameters), 'kpoints': kpoints}


@calcfunction
def label_from_pw(
    item: orm.Data,
    settings: orm.Dict,
    versions: orm.Dict,
    variant: orm.Str,
    record: orm.Dict,
    stage_version: orm.Str,
    dataset: DatasetData | None = None,
    output_parameters: orm.Dict | None = None,
    output_trajectory: orm.ArrayData | None = None,
) -> orm.Data:
    """Make the node of the label from the outputs of ``PwBaseWorkChain``.

    Parameters
    ----------
    item, settings, versions, variant, stage_version, dataset
        As for `prepare_pw`. If the job used a different version of the code, the node has the level of theory of that
        version.
    record
        Attempts and duration; for a process that has failed, also ``rule`` and ``reason``.
    output_parameters, output_trajectory
        The outputs.

    Returns
    -------
    LabelsData
        The label, or the reason why there is none.
    """
    chosen, about = PwSettings(**settings.get_dict()), versions.get_dict()
    results = {} if output_parameters is None else output_parameters.get_dict()
    about |= {VERSION: results.get('creator_version', about[VERSION])}
    outcome: Label | Failure
    if 'rule' in record.get_dict():
        outcome = failure_from(record)
    else:
        assert output_trajectory is not None
        arrays = {name: output_trajectory.get_array(name)[-1] for name in output_trajectory.get_arraynames()}
        outcome = label_from_arrays(arrays, chosen, record.get_dict())
    structure = item.value if isinstance(item, orm.Str) else structure_of(dataset, item)
    software = Software(architecture='quantum-espresso', package_version=__version__, calculator_version=about[VERSION])
    return labels_node(structure, outcome, pw_level(chosen, about), variant.value, software)


def label_from_arrays(
    arrays: Mapping[str, np.ndarray], settings: PwSettings, record: Mapping[str, Any]
) -> Label | Failure:
    """Return the label in the results of ``pw.x``.

    Parameters
    ----------
    arrays
        ``energy``, the free energy E - TS in eV, and ``forces`` in eV/Å; if present, ``energy_smearing``, the part -TS
        in eV, ``stress`` in GPa (3, 3), positive for a compressed crystal, and ``atomic_magnetic_moments`` in μB.
    settings
        The settings.
    record
        The content of `record_of`.
    """
    free_energy = float(arrays['energy'])
    smearing = float(arrays.get('energy_smearing', 0.0))
    extrapolated = free_energy - EXTRAPOLATION[settings.smearing] * smearing
    stress = arrays.get('stress')
    moments = arrays.get('atomic_magnetic_moments')
    return label_from(
        record,
        energy_eV=free_energy if settings.energy == 'free_energy' else extrapolated,
        energy_kind=settings.energy,
        forces_eV_A=np.asarray(arrays['forces'], dtype=float),
        free_energy_eV=free_energy,
        extrapolated_energy_eV=extrapolated,
        # In ASE's sign convention, the stress of a compressed crystal is negative.
        stress_eV_A3=None if stress is None else -full_3x3_to_voigt_6_stress(np.asarray(stress)) * GPa,
        magnetic_moments_muB=None if moments is None else np.asarray(moments, dtype=float),
    )


class Espresso(ProcessKind):
    """``PwBaseWorkChain``, which restarts ``pw.x`` with different mixing, more bands or another eigensolver."""

    prepare = staticmethod(prepare_pw)
    collect = staticmethod(label_from_pw)
    outputs = ('output_parameters', 'output_trajectory')

    def process_class(self) -> type[Process]:
        """Return ``PwBaseWorkChain``.

        Raises
        ------
        AutopipeError
            If aiida-quantumespresso is not installed.
        """
        try:
            return WorkflowFactory('quantumespresso.pw.base')
        except EntryPointError as error:
            raise AutopipeError(
                Code.PACKAGE_MISSING,
                "labelling.kind: 'espresso' needs the package aiida-quantumespresso: pip install "
                "'aiida-mlip-autopipe[espresso]'",
            ) from error

    def inputs(
        self,
        prepared: Nodes,
        code: orm.AbstractCode,
        options: dict[str, Any],
        pseudos: Nodes,
        time_limit_s: float | None,
    ) -> dict[str, Any]:
        """Return the inputs; a pseudopotential for each species, whose name begins with the symbol."""
        structure = prepared['structure']
        species = {kind.name: pseudos[kind.symbol] for kind in structure.kinds}
        pw = {
            'code': code,
            'structure': structure,
            'parameters': prepared['parameters'],
            'pseudos': species,
            'metadata': {'options': options},
        }
        inputs = {'pw': pw, 'kpoints': prepared['kpoints'], 'clean_workdir': orm.Bool(True)}
        if time_limit_s is not None:
            pw['metadata'] = {'options': {**options, 'max_wallclock_seconds': int(np.ceil(time_limit_s))}}
            # Without a limit, a job that runs out of wall time is continued.
            inputs['handler_overrides'] = orm.Dict({'handle_out_of_walltime': {'enabled': False}})
        return inputs

    def why_failed(self, node: orm.ProcessNode) -> tuple[Rule, str]:
        """Return the rule and the message of the last job, since that of the work chain names no cause."""
        last = next((one for one in reversed(_jobs(node)) if one.exit_status), node)
        rules: dict[int, Rule] = {OUT_OF_WALLTIME: 'time_limit', NOT_CONVERGED: 'not_converged'}
        return rules.get(last.exit_status, 'raised'), last.exit_message or f'process {last.pk} failed'

    def attempts(self, node: orm.ProcessNode) -> list[Attempt]:
        """Return an attempt for each job."""
        found, previous = [], None
        for job in _jobs(node):
            parameters = job.inputs.parameters.get_dict()
            results = job.outputs.output_parameters.get_dict() if 'output_parameters' in job.outputs else {}
            found.append(
                Attempt(
                    change='' if previous is None else _change(previous, parameters),
                    converged=job.is_finished_ok,
                    n_scf_steps=results.get('scf_iterations'),
                    seconds=float(results.get('wall_time_seconds', 0.0)),
                    message='' if job.is_finished_ok else str(job.exit_message or ''),
                )
            )
            previous = parameters
        return found


def _structure(inputs: PwInputs, version: str) -> orm.StructureData:
    """Return the node of the structure, which contains U for versions that read it from a card."""
    structure = orm.StructureData(ase=inputs.atoms)
    if not inputs.hubbard:
        return structure
    if not uses_hubbard_card(version):
        add_hubbard(inputs)
        return structure
    with_U = DataFactory('quantumespresso.hubbard_structure').from_structure(structure)
    hubbard = with_U.hubbard
    hubbard.projectors = 'atomic'  # as in earlier versions; forces and stress are implemented for these projectors
    with_U.hubbard = hubbard
    for name, (shell, value) in inputs.hubbard.items():
        with_U.initialize_onsites_hubbard(name, shell, value)
    return with_U


def _jobs(node: orm.ProcessNode) -> list[orm.CalcJobNode]:
    """Return the jobs of a ``PwBaseWorkChain`` in order."""
    return sorted((one for one in node.called if isinstance(one, orm.CalcJobNode)), key=lambda one: one.pk)


def _change(previous: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Return what a restart changes; ``restart`` if it only continues."""
    for (namelist, name), change in CHANGES.items():
        if previous.get(namelist, {}).get(name) != parameters.get(namelist, {}).get(name):
            return change
    return 'restart'


KIND = Espresso()
