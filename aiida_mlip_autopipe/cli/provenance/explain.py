"""``mlip-autopipe explain``: what happened to a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aiida_mlip_autopipe.cli.dataset.options import JsonOption
from aiida_mlip_autopipe.cli.provenance.options import IdentifierOrArchive, ProfileOption

if TYPE_CHECKING:
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.history.costs import StageCost
    from aiida_mlip_autopipe.campaigns.history.events import Events
    from aiida_mlip_autopipe.campaigns.history.explain import CampaignExplanation, Retried, Reused
    from aiida_mlip_autopipe.campaigns.history.failures import FailureGroup
    from aiida_mlip_autopipe.campaigns.history.logs import LogExcerpt

_PROCESS_NAMES = {
    'AssessmentCalculation': 'assessment job',
    'DatasetWorkChain': 'exploration and labelling of a round',
    'DescriptorsCalculation': 'descriptor job',
    'DescriptorsWorkChain': 'computation of descriptors',
    'EvaluationCalculation': 'committee job',
    'ExplorationCalculation': 'exploration job',
    'ExplorationWorkChain': 'exploration',
    'LabellingCalculation': 'labelling job',
    'LabellingWorkChain': 'labelling run',
    'ProcessLabellingWorkChain': 'labelling of a structure',
    'RecoverCalculation': 'recovery of a killed exploration job',
    'RecoverLabelsCalculation': 'recovery of a killed labelling job',
    'SelectionCalculation': 'selection job',
    'StashCalculation': 'copy of a full trajectory',
    'TrainingCalculation': 'training job',
    'TrainingWorkChain': 'training run',
    'attach_labels': 'attachment of labels',
    'calibrate_bounds': 'calibration of error bounds',
    'compare_models': 'comparison of models',
    'decide_round': 'decision after a round',
    'describe_reference': 'environments of the reference dataset',
    'divide_rows': 'sets of a training run',
    'draw_random_frames': 'random draw of frames',
    'estimate_number_of_labels': 'estimate of the number of labels',
    'export_dataset': 'export of the dataset',
    'fit_environments': 'principal components of environments',
    'generate_seeds': 'generation of seeds',
    'judge_model': 'judgement of a model',
    'label_from_ase': 'label from an ASE calculator',
    'label_from_pw': 'label from pw.x',
    'make_drift_structures': 'structures of other chemical systems',
    'make_replay_structures': 'structures for replay',
    'measure_bounds': 'coverage of error bounds',
    'merge_rounds': 'merge of the rows of rounds',
    'prepare_ase': 'inputs of an ASE calculator',
    'prepare_pw': 'inputs of pw.x',
    'select_frames': 'selection of frames',
}
"""What a user calls the processes of a campaign. Processes of other packages keep the names of their classes."""


def explain(identifier: IdentifierOrArchive, as_json: JsonOption = False, profile: ProfileOption = None) -> None:
    """Explain what happened to a campaign, a labelling run or a training run.

    It shows what failed, why, and what to change; what was retried, reused and left out; and what each stage cost.
    """
    from aiida_mlip_autopipe.cli.console import print_json
    from aiida_mlip_autopipe.cli.provenance.opening import opened

    with opened(identifier, profile) as campaign:
        from aiida_mlip_autopipe.campaigns.history.explain import explain_campaign
        from aiida_mlip_autopipe.workflows.graph import load_campaign

        explained = explain_campaign(load_campaign(campaign))
        print_json(explained) if as_json else _print(explained)


def _print(explained: CampaignExplanation) -> None:
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import describe

    progress = explained.progress
    console.print(f'campaign [bold]{progress.name}[/], id {progress.pk}')
    console.print(describe(progress))
    if progress.failure:
        code = f' ({explained.exit_label}, exit code {explained.exit_status})' if explained.exit_label else ''
        ending = _ending(explained.state, explained.exit_label)
        console.print(f'{ending}{code}: {progress.failure}', style='red', markup=False)
        _print_remedy(explained.meaning, explained.remedy, explained.log)
    sections = {
        'Seeds': _count_seeds(explained),
        'Retried': _describe_retried(explained.retried),
        'Reused': _describe_reused(explained),
        'Frames': _count_frames(explained),
        'Events': _describe_events(explained.events),
        'Not evaluated by the committee': _describe_events(explained.committee_events),
        'Without a label': _describe_events(explained.label_failures),
    }
    for group in explained.failures:
        _print_failure(group)
    for title, lines in sections.items():
        if lines:
            console.print(f'\n[bold]{title}[/]')
        for line in lines:
            console.print(f'  {line}', markup=False)
    if explained.stages:
        console.print('\n[bold]Stages[/]')
        console.print(_stages(explained.stages))


def _print_failure(group: FailureGroup) -> None:
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted

    what = _code(group.exit_label, group.exit_status) if group.exit_status is not None else group.state
    ending = _ending(group.state, group.exit_label)
    how_many = counted(group.n_failed, 'failure') if ending == 'failed' else f'{group.n_failed} {ending}'
    title = f'{_name(group.process)}: {how_many}, {what}'
    console.print(f'\n{title}', style='bold red', markup=False)
    more = ', …' if group.n_failed > len(group.pks) else ''
    if group.seeds:
        console.print(f'  seeds: {", ".join(group.seeds)}{more}', markup=False)
    console.print(f'  processes: {", ".join(map(str, group.pks))}{more}', markup=False)
    if group.rule:
        console.print(f'  rule: {group.rule}, at step {group.step}', markup=False)
    console.print(f'  {group.message}', markup=False)
    _print_remedy(group.meaning, group.remedy, group.log)


def _print_remedy(meaning: str | None, remedy: str | None, log: Iterable[LogExcerpt]) -> None:
    from aiida_mlip_autopipe.cli.console import console

    if meaning:
        console.print(f'  meaning: {meaning}', markup=False)
    if remedy:
        console.print(f'  what to do: {remedy}', markup=False)
    for excerpt in log:
        console.print(f'  end of {excerpt.name}:', markup=False)
        for line in excerpt.lines:
            console.print(f'    {line}', style='dim', markup=False)


def _ending(state: str, exit_label: str | None) -> str:
    """Return in one word how a process ended that did not succeed. What a user stopped or killed has not failed."""
    return 'killed' if state == 'killed' else 'stopped' if exit_label == 'ERROR_STOPPED' else 'failed'


def _name(process: str) -> str:
    return _PROCESS_NAMES.get(process, process)


def _code(label: str | None, status: int | None) -> str:
    return f'{label} ({status})' if label else f'exit code {status}' if status is not None else 'no exit code'


def _describe_source(reused: Reused) -> str:
    if reused.source == 'labels in the profile':
        return f'labels: {reused.n_reused} from the profile'
    source = {'cache': 'the cache', 'earlier exploration': 'an earlier exploration'}[reused.source]
    return f'{_name(reused.process)}: {reused.n_reused} from {source}'


def _count_seeds(explained: CampaignExplanation) -> list[str]:
    lines = [', '.join(f'{n} {outcome}' for outcome, n in explained.seeds.items())] if explained.seeds else []
    return lines + [f'rejected by {one.rule}: {one.n_draws}; worst example: {one.message}' for one in explained.redrawn]


def _describe_reused(explained: CampaignExplanation) -> list[str]:
    from aiida_mlip_autopipe.core.wording import counted

    lines = [_describe_source(one) for one in explained.reused]
    steps = explained.reused_steps
    if explained.progress.extends is not None:
        reused = f'{counted(steps.n_seeds, "seed")} and {counted(steps.n_steps, "step")} reused'
        lines.insert(0, f'extends {explained.progress.extends}: {reused}')
    return lines


def _describe_retried(retried: Iterable[Retried]) -> list[str]:
    from aiida_mlip_autopipe.core.wording import counted

    lines = []
    for one in retried:
        seeds = f', for {counted(one.n_seeds, "seed")}' if one.n_seeds else ''
        ending = f'{one.n_jobs} × {_code(one.exit_label, one.exit_status)}'
        lines.append(f'{_name(one.process)}: {ending}{seeds}; {one.action}')
    return lines


def _count_frames(explained: CampaignExplanation) -> list[str]:
    from aiida_mlip_autopipe.core.wording import counted

    frames = explained.frames
    if frames is None:
        return []
    discarded = [f'{n} {reason.replace("_", " ")}' for reason, n in frames.n_discarded_by_reason.items()]
    line = (
        f'{counted(frames.n_explored, "frame")} explored, {counted(frames.n_candidates, "candidate")}, '
        f'{frames.n_selected} selected'
    )
    return [f'{line}; discarded: {", ".join(discarded)}' if discarded else line]


def _describe_events(events: Iterable[Events]) -> list[str]:
    return [f'{one.n_events} × {one.rule}, for example: {one.example}' for one in events]


def _stages(stages: Iterable[StageCost]) -> Table:
    from rich.table import Table

    table = Table('stage', box=None, padding=(0, 2, 0, 0))
    for title in ('jobs', 'reused', 'force calls', 'job hours', 'core hours', 'elapsed'):
        table.add_column(title, justify='right')
    for row in _stage_rows(stages):
        table.add_row(*row)
    return table


def _stage_rows(stages: Iterable[StageCost]) -> Iterator[tuple[str, ...]]:
    from datetime import timedelta

    for one in stages:
        yield (
            f'  {one.stage}',
            str(one.n_jobs),
            str(one.n_reused),
            f'{one.n_force_calls:,}',
            f'{one.job_s / 3600:.3g}',
            f'{one.core_s / 3600:.3g}',
            str(timedelta(seconds=round(one.elapsed_s))),
        )
