"""Labels from an ASE calculator: ``AseCalculation`` of aiida-ase, and the calcfunctions around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, Process, calcfunction
from aiida.plugins import CalculationFactory

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
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.labelling.label import Failure, Label, Rule
from aiida_mlip_autopipe.labelling.labellers.ase import AseSettings, ase_level
from aiida_mlip_autopipe.labelling.plugins.ase_script import ENERGIES, script_settings
from aiida_mlip_autopipe.structures.rows.provenance import Software

# The error that GPAW and ASE raise if the SCF cycle does not converge.
NOT_CONVERGED = ('KohnShamConvergenceError', 'SCFError')
# Exit code of a job whose scheduler reports that it ran out of time.
OUT_OF_WALLTIME = 120


@calcfunction
def prepare_ase(
    item: orm.Int,
    settings: orm.Dict,
    versions: orm.Dict,
    variant: orm.Str,
    stage_version: orm.Str,
    dataset: DatasetData,
) -> Mapping[str, orm.Data] | ExitCode:
    """Make the inputs of ``AseCalculation`` for a structure.

    Parameters
    ----------
    item
        The index of a row.
    settings
        The settings of `AseSettings`.
    versions
        The versions of ASE and of the calculator's packages, as in the level of theory. Not used.
    variant
        Not used: a repetition gives the same result.
    stage_version
        Version of this function; increased when its results change.
    dataset
        The dataset.

    Returns
    -------
    dict
        ``structure``, ``parameters`` and, if the settings have a spacing of the k-points, ``kpoints``.
    """
    atoms = structure_of(dataset, item)
    try:
        parameters, mesh = script_settings(atoms, AseSettings(**settings.get_dict()))
    except AutopipeError as error:
        return ExitCode(ERROR_REFUSED, str(error), invalidates_cache=True)
    # AiiDA's structures have tags as part of the names of species, which the calculator does not need.
    atoms.set_tags(None)
    outputs = {'structure': orm.StructureData(ase=atoms), 'parameters': orm.Dict(parameters)}
    if mesh is not None:
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh(mesh)
        outputs['kpoints'] = kpoints
    return outputs


@calcfunction
def label_from_ase(
    item: orm.Int,
    settings: orm.Dict,
    versions: orm.Dict,
    variant: orm.Str,
    record: orm.Dict,
    stage_version: orm.Str,
    dataset: DatasetData,
    parameters: orm.Dict | None = None,
    array: orm.ArrayData | None = None,
) -> orm.Data:
    """Make the node of the label from the outputs of ``AseCalculation``.

    Parameters
    ----------
    item, settings, versions, variant, stage_version, dataset
        As for `prepare_ase`. If the job used different versions, the node has the level of theory of those
        versions.
    record
        Attempts and duration; for a job that has failed, also ``rule`` and ``reason``.
    parameters, array
        The outputs.

    Returns
    -------
    LabelsData
        The label, or the reason why there is none.
    """
    chosen, about = AseSettings(**settings.get_dict()), versions.get_dict()
    outcome: Label | Failure
    if 'rule' in record.get_dict():
        outcome = failure_from(record)
    else:
        assert array is not None
        assert parameters is not None
        about = parameters['versions']
        arrays = {name: array.get_array(name) for name in array.get_arraynames()}
        outcome = label_from_arrays(arrays, chosen, record.get_dict())
    level = ase_level(chosen, about)
    software = Software(
        architecture=chosen.calculator,
        package_version=__version__,
        ase_version=about.get('ase'),
        calculator_version=about.get('gpaw'),
    )
    return labels_node(structure_of(dataset, item), outcome, level, variant.value, software)


def label_from_arrays(
    arrays: Mapping[str, np.ndarray], settings: AseSettings, record: Mapping[str, Any]
) -> Label | Failure:
    """Return the label in the results of a calculator of ASE.

    Parameters
    ----------
    arrays
        ``energies`` in eV, of which the first is the free energy or NaN, ``forces`` in eV/Å and, if present, ``stress``
        in eV/Å³.
    settings
        The settings.
    record
        The content of `record_of`.
    """
    free_energy, energy = arrays[ENERGIES].tolist()
    return label_from(
        record,
        energy_eV=free_energy if settings.energy == 'free_energy' else energy,
        energy_kind=settings.energy,
        forces_eV_A=arrays['forces'],
        free_energy_eV=free_energy if settings.energy == 'free_energy' else None,
        extrapolated_energy_eV=energy if settings.energy == 'extrapolated' else None,
        stress_eV_A3=arrays.get('stress'),
    )


class Ase(ProcessKind):
    """``AseCalculation``."""

    prepare = staticmethod(prepare_ase)
    collect = staticmethod(label_from_ase)
    outputs = ('parameters', 'array')

    def process_class(self) -> type[Process]:
        """Return ``AseCalculation``."""
        return CalculationFactory('ase.ase')

    def inputs(
        self,
        prepared: Nodes,
        code: orm.AbstractCode,
        options: dict[str, Any],
        pseudos: Nodes,
        time_limit_s: float | None,
    ) -> dict[str, Any]:
        """Return the inputs of the job."""
        if time_limit_s is not None:
            options = {**options, 'max_wallclock_seconds': int(np.ceil(time_limit_s))}
        return {'code': code, **prepared, 'metadata': {'options': {**options, 'parser_name': 'ase.ase'}}}

    def why_failed(self, node: orm.ProcessNode) -> tuple[Rule, str]:
        """Return the rule and the reason for the failure of a job.

        The reason is the last line of the error output. If there is none, or if the time ran out, it is the exit
        message.
        """
        lines = (node.get_scheduler_stderr() or '').strip().splitlines()
        reason = lines[-1] if lines else node.exit_message or f'job {node.pk} failed'
        if node.exit_status == OUT_OF_WALLTIME:
            return 'time_limit', node.exit_message
        return 'not_converged' if any(name in reason for name in NOT_CONVERGED) else 'raised', reason

    def attempts(self, node: orm.ProcessNode) -> list[Attempt]:
        """Return one attempt, whose duration the script has measured."""
        seconds = node.outputs.parameters.get('seconds', 0.0) if 'parameters' in node.outputs else 0.0
        message = '' if node.is_finished_ok else self.why_failed(node)[1]
        return [Attempt('', node.is_finished_ok, None, float(seconds), message)]


KIND = Ase()
