"""The parser of a labelling job."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mlip_autopipe.data.dataset import structures_in
from aiida_mlip_autopipe.data.evaluation import ABOUT
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, LabellingRequest
from aiida_mlip_autopipe.labelling.keys import isolated_atom_key, label_key
from aiida_mlip_autopipe.labelling.label import Label
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class LabellingParser(JobParser):
    """Attaches the labels and failures of the structures that the job has finished."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the labels, including those of a job that was killed, so that they are not computed again."""
        any_result = bool(result.n_frames or result.isolated_atom_energies_eV)
        if not any_result and not (folder / LABELS_FILE).is_file():
            return None
        outcomes = self.read_labels(folder)
        if isinstance(outcomes, ExitCode):
            return outcomes
        if not any_result and not outcomes:
            return None
        inputs = self.node.inputs
        request = LabellingRequest.model_validate(inputs.request.get_dict())
        energies = result.isolated_atom_energies_eV
        if result.outcome == 'killed':
            # The result may be older than the labels.
            atoms = {symbol: outcomes.get(isolated_atom_key(symbol)) for symbol in request.isolated_atoms}
            energies = {symbol: one.energy_eV for symbol, one in atoms.items() if isinstance(one, Label)} | energies
        level = LevelOfTheory.model_validate(inputs.level.get_dict())
        structures = structures_in(inputs.dataset, inputs.rows.get_list())
        finished = {key: atoms for atoms in structures if (key := label_key(atoms, level.hash)) in outcomes}
        labels = LabelsData.from_outcomes(
            [atoms.numbers for atoms in finished.values()],
            list(finished),
            [outcomes[key] for key in finished],
            level,
            inputs.labelling_version.value,
            about=result.model_dump(mode='json', include=set(ABOUT)),
            isolated_atom_energies_eV=energies,
            variant=request.variant,
        )
        self.out('labels', labels)
        return None
