"""Changes of codes, computers, models and environments since a campaign was submitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from aiida import orm
from aiida.common import LinkType, ValidationError

from aiida_mlip_autopipe.calculations.model_link import MEMBER_MODELS, fill_in_models
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256, is_local, read_code_environment, stored_environment
from aiida_mlip_autopipe.installation.models import ensure_placed
from aiida_mlip_autopipe.jobs.environment import Environment, compare_environments
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.labelling import LABELLING_VERSION

VERSIONS = {
    'runner_version': RUNNER_VERSION,
    'evaluation_version': LABELLING_VERSION,
    'labelling_version': LABELLING_VERSION,
    'descriptors_version': DESCRIPTORS_VERSION,
    'training_version': TRAINING_VERSION,
}
"""The inputs with the versions of the programs of the jobs, and their current values."""


def refuse_changed_inputs(campaign: orm.WorkChainNode) -> None:
    """Refuse a campaign whose jobs would run differently than when it was submitted.

    Models that were removed from a computer are restored if their content is stored.

    Raises
    ------
    AutopipeError
        If any code, computer, model, environment or job version has changed or is missing; the message lists all of
        them. Also if a computer cannot be reached.
    """
    inputs = campaign.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
    changes: list[str] = []
    for code in _find(inputs, lambda value: isinstance(value, orm.AbstractCode)):
        changes += _changes_of_code(code)
    if not changes:
        for job in _find(inputs, lambda value: isinstance(value, Mapping) and 'code' in value):
            changes += _changes_of_job(job)
        changes += [
            f'the {name.replace("_", " ")} was {recorded} and is now {current}'
            for name, current in VERSIONS.items()
            for recorded in {one[name].value for one in _find(inputs, partial(_has, name))}
            if recorded != current
        ]
    if changes:
        raise AutopipeError(
            Code.CAMPAIGN_CHANGED,
            f'campaign {campaign.pk} cannot be resumed, because something has changed since it was submitted: '
            f'{"; ".join(dict.fromkeys(changes))}; undo the changes, or run the config again with the current '
            'installation',
        )


def _has(name: str, value: Any) -> bool:
    return isinstance(value, Mapping) and name in value


def _find(inputs: Mapping[str, Any], is_wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield the inputs, and the namespaces of inputs, for which a condition holds."""
    if is_wanted(inputs):
        yield inputs
    for value in inputs.values():
        if isinstance(value, Mapping):
            yield from _find(value, is_wanted)
        elif is_wanted(value):
            yield value


def _changes_of_code(code: orm.AbstractCode) -> Iterator[str]:
    computer = code.computer
    if computer is None:  # a portable code
        return
    user = orm.User.collection.get_default()
    if not (computer.is_user_configured(user) and computer.is_user_enabled(user)):
        yield f'the computer {computer.label} is not configured or is disabled'
        return
    if code.is_hidden:
        yield f'the code {code.full_label} is hidden'
        return
    try:
        if isinstance(code, orm.InstalledCode):
            code.validate_filepath_executable()
        else:
            with computer.get_transport():
                pass
    except Exception as error:  # a connection can fail in many ways
        # AiiDA also raises a ValidationError if it cannot connect, but then the cause is a different error.
        cause = error.__cause__ or error
        reason = first_line(cause)
        if not isinstance(cause, ValidationError):
            raise AutopipeError(
                Code.COMPUTER_TEST_FAILED,
                f'cannot check the code {code.full_label}: {reason}; try again when {computer.label} can be reached',
            ) from error
        yield f'the code {code.full_label} cannot be used: {reason}'


def _changes_of_job(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the changes of the models and of the environment of a code that runs jobs of this package."""
    code = inputs['code']
    for model in filter(None, (inputs.get('model'), *inputs.get(MEMBER_MODELS, {}).values())):
        try:
            ensure_placed(model, code)
        except AutopipeError as error:
            yield str(error)
            return
    image, recorded = code.base.extras.get(IMAGE_SHA256, None), inputs.get('image_sha256')
    if image != (recorded and recorded.value):
        yield f'the image of {code.full_label} was replaced'
        return
    if 'environment' not in inputs:
        return
    expected = Environment.model_validate(inputs['environment'].get_dict())
    calculator = fill_in_models(inputs['calculator'].get_dict(), inputs) if 'calculator' in inputs else {}
    try:
        found = read_code_environment(code, calculator) if is_local(code) else stored_environment(code, calculator)
    except AutopipeError as error:
        yield str(error)
        return
    if found is None:
        yield f'{code.full_label} no longer has an environment record'
        return
    if not calculator:
        found = found.without_calculator()
    # The number of threads and the device are determined by the resources of the campaign.
    found = found.model_copy(update={'threads': expected.threads, 'device': expected.device})
    yield from (f'{code.full_label}: {change.name} {change.shown}' for change in compare_environments(expected, found))
