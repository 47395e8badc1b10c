"""The data of the report on the rounds of a campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.assessment.deviations import ENERGY, FORCE, STRESS, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.rounds.suggestions import KindError, suggest
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.sets.keys import group_of
from aiida_mlip_autopipe.workflows.graph import find_round_reports, find_rounds, output_of
from aiida_mlip_autopipe.workflows.rounds.assessments import FORMER

TARGETS = {
    FORCE: 'target_force_error_eV_A',
    STRESS: 'target_stress_error_GPa',
    ENERGY: 'target_energy_error_eV_atom',
}


def read_rounds_report(campaign: orm.WorkChainNode) -> dict[str, Any]:
    """Return what the report card shows about the rounds of a campaign, as JSON.

    Returns
    -------
    dict
        ``targets`` by quantity; ``label_budget`` and ``maximum``; ``rounds``, the reports of the finished rounds, each
        with ``trainings`` (the reports of its training runs by name) and ``pk`` (the work chain with its selection);
        ``errors_by_kind``, the force errors of the last model on the test set; and ``suggestions``.
    """
    settings = campaign.inputs.rounds.get_dict()
    reports = find_round_reports(campaign)
    chains = find_rounds(campaign)
    kinds = _errors_by_kind(campaign, reports[-1]) if reports else {}
    return {
        'targets': {name: settings[key] for name, key in TARGETS.items() if settings[key] is not None},
        'label_budget': settings['label_budget'],
        'maximum': settings['maximum'],
        'rounds': [
            {**one, 'trainings': _read_trainings(campaign, one['round']), 'pk': chain.pk}
            for one, chain in zip(reports, chains, strict=False)  # the last round may not have a report yet
        ],
        'errors_by_kind': {name: asdict(one) for name, one in kinds.items()},
        'suggestions': [asdict(one) for one in suggest(reports, settings[TARGETS[FORCE]], kinds)],
    }


def _read_trainings(campaign: orm.WorkChainNode, number: int) -> dict[str, dict[str, Any]]:
    """Return the reports of the training runs of a round by name."""
    prefix = f'rounds__round_{number}__models__'
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    of_models = {'type': LinkType.RETURN.value, 'label': {'like': prefix.replace('_', r'\_') + '%'}}
    query.append(ModelData, with_incoming='campaign', edge_filters=of_models, edge_project='label', project='*')
    reports = {label.removeprefix(prefix): output_of(model.creator, 'report') for model, label in query.all()}
    return {name: node.get_dict() for name, node in sorted(reports.items())}


def _errors_by_kind(campaign: orm.WorkChainNode, report: dict[str, Any]) -> dict[str, KindError]:
    """Return the force errors of the model that a round ended with on the test set, by kind of seed."""
    prefix = f'rounds__round_{report["round"]}__'
    name = report['candidate'] if report['errors']['accepted'] else FORMER
    node = output_of(campaign, f'{prefix}assessments__{name}')
    if report['judgement'] is None or node is None:
        return {}
    rows = output_of(campaign, f'{prefix}dataset').rows()
    tested = [index for index, row in enumerate(rows) if row.provenance.role == 'test']
    return measure_kinds([rows[index] for index in tested], assessment_from_node(node).of_rows(tested))


def measure_kinds(rows: Sequence[Row], predicted: Predictions) -> dict[str, KindError]:
    """Return the force errors of a model by kind of seed. Frames that it cannot evaluate are left out.

    Parameters
    ----------
    rows
        The test rows.
    predicted
        The predictions of the model for these rows.
    """
    errors = measure_errors(Predictions.from_rows(rows), predicted)
    members: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if np.isfinite(errors.force_eV_A[index]):
            members.setdefault(str(row.key_value_pairs.get('kind', 'unknown')), []).append(index)
    found = {}
    for kind, indices in sorted(members.items()):
        weights = errors.n_components[indices]
        mean = np.average(errors.force_eV_A[indices] ** 2, weights=weights)
        groups = {group_of(rows[index], index, 'parent') for index in indices}
        found[kind] = KindError(float(np.sqrt(mean)), int(weights.sum()), len(groups))
    return found
