"""The report card of a campaign: of its dataset, beside all frames that it explored, and of what the campaign did."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.data.selection import selection_from_node
from aiida_mlip_autopipe.data.trajectory import in_order, trajectory_from_node
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.generation import merge_reports
from aiida_mlip_autopipe.reporting.report_card import write_report_card
from aiida_mlip_autopipe.sampling.assessment import assess_selection
from aiida_mlip_autopipe.storage import Dataset, Row
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain


def write_campaign_report(campaign: orm.WorkChainNode, path: Path, *, force: bool = False) -> int:
    """Write the report card of a finished campaign, and its numbers to a ``.json`` beside it.

    Parameters
    ----------
    campaign
        A campaign that has finished.
    path
        The file, which ends in ``.html``.
    force
        Whether existing files are overwritten.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet, the suffix is another or a file exists.
    """
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, 'dataset.db')
        write_dataset(campaign, database)
        with Dataset(database) as dataset:
            rows = list(dataset.query())
    trajectories = [trajectory_from_node(leg) for leg in _legs(campaign)]
    report = campaign.outputs.selection_report.get_dict()
    assessment = assess_selection(
        trajectories,
        selection_from_node(campaign.outputs.selection, report, [one.trajectory_id for one in trajectories]),
        _descriptor(campaign.inputs.sampling.get_dict()),
        random_seed=campaign.inputs.random_seed.value,
    )
    write_report_card(
        path,
        rows,
        assessment=assessment,
        structures={
            layer: [trajectories[t].frame(f) for t, f in zip(points['trajectory'], points['frame'], strict=True)]
            for layer, points in assessment['map'].items()
        },
        campaign=describe_campaign(campaign),
        warnings=selection_warnings(report, rows),
        overwrite=force,
    )
    return len(rows)


def describe_campaign(campaign: orm.WorkChainNode) -> dict[str, dict[str, Any]]:
    """Return what was rejected, how the explorations ended, and what it cost, as tables by title."""
    explorations = [node for node in campaign.called if node.process_class is ExplorationWorkChain]
    jobs = [job for node in explorations for job in node.called if isinstance(job, orm.CalcJobNode)]
    # What a committee says is no exploration: it ends in its own ways.
    results = [job.outputs.result.get_dict() for job in jobs if _explores(job) and 'result' in job.outputs]
    generated = merge_reports(report.get_dict() for report in campaign.outputs.generation_reports.values())
    selection = campaign.outputs.selection_report.get_dict()
    passed_over = {f'passed over: {reason.replace("_", " ")}': n for reason, n in selection['passed_over'].items() if n}
    # Where a run was too short for its energy to forget itself, this is not known.
    independent = [n for result in results if (n := result['statistics'].get('n_independent_frames')) is not None]
    tables: dict[str, dict[str, Any]] = {
        'Seeds': {
            'asked for': generated['requested'],
            'made': generated['made'],
            **{name: generated[name] for name in ('duplicates', 'skipped') if generated[name]},
            **{f'redrawn: {rule}': broken['count'] for rule, broken in generated['rules'].items()},
        },
        'Explorations': dict(Counter(_ending(node) for node in explorations)),
        'Crashes by what noticed them': count_crashes(results),
        'Frames': {
            'explored': selection['n_frames'],
            **({'independent of one another, by the energy': round(sum(independent), 1)} if independent else {}),
            **passed_over,
            'to choose from': selection['n_candidates'],
            'chosen': selection['n_selected'],
        },
        'Time': {
            'jobs': len(jobs),
            'force calls': sum(result['force_calls'] for result in results),
            'hours of dynamics': sum(result['loop_s'] for result in results) / 3600,
            'hours of loading models': sum(result['load_s'] for result in results) / 3600,
            'hours from start to end': (campaign.mtime - campaign.ctime).total_seconds() / 3600,
        },
    }
    return {title: table for title, table in tables.items() if table}


def selection_warnings(report: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return what the selection warned of, and whether the dataset it extends has labels of another kind."""
    own = {str(row.key_value_pairs['label_source']) for row in rows}
    others = sorted(set(report.get('given_label_sources', ())) - own)
    if not others:
        return list(report['warnings'])
    return [
        *report['warnings'],
        f'the structures given have labels of {", ".join(others)}, these of {", ".join(sorted(own))}: the two datasets '
        'cannot be merged, and no model can be trained on both at once',
    ]


def count_crashes(results: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many jobs a guard stopped, by the guard: also those of explorations that were taken up again."""
    stopped = [result for result in results if result['outcome'] in ('unstable', 'no_frame')]
    return dict(Counter(result['events'][-1]['rule'] for result in stopped if result['events']))


def _ending(exploration: orm.WorkChainNode) -> str:
    if exploration.is_finished_ok:
        return 'completed'
    jobs = sorted((job for job in exploration.called if _explores(job)), key=lambda job: job.pk)
    last = jobs[-1] if jobs and jobs[-1].exit_status else exploration
    known = last.process_class.spec().exit_codes.values()
    message = next((code.message for code in known if code.status == last.exit_status), last.process_state.value)
    return message.partition(':')[0].rstrip('.')


def _explores(node: orm.ProcessNode) -> bool:
    return node.process_class is ExplorationCalculation


def _legs(campaign: orm.WorkChainNode) -> list[orm.TrajectoryData]:
    """Return what the frames were selected from."""
    selecting = campaign.outputs.selection.creator
    return in_order(selecting.base.links.get_incoming(node_class=orm.TrajectoryData).all_nodes())


def _descriptor(sampling: Mapping[str, Any]) -> SoapSettings | None:
    """Return the descriptor that the sampler measured with, where it is one that the report can compute."""
    settings = sampling.get('descriptor')
    return SoapSettings(**settings) if settings and settings.get('kind', 'soap') == 'soap' else None
