"""A code of a campaign, with its calculator, the models and the resources of its jobs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.calculators.base import without_models
from aiida_mlip_autopipe.config.execution import StashSettings
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256
from aiida_mlip_autopipe.jobs.resources import JobResources


@dataclass(frozen=True)
class JobCode:
    """A code of a campaign, with its calculator, the models and the resources of its jobs."""

    code: orm.AbstractCode
    calculator: CalculatorSettings
    resources: JobResources
    stash: StashSettings | None = None
    model: ModelData | None = None
    member_models: Mapping[str, ModelData] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name that depends on the code, the calculator with its device, and the content of the models."""
        calculator = without_models(self.calculator.model_dump(mode='json'))
        model = None if self.model is None else self.model.sha256
        members = {name: model.sha256 for name, model in self.member_models.items()}
        # Without a committee, the content is the same as before committees existed.
        identity = [self.code.full_label, calculator, model, *([members] if members else [])]
        content = json.dumps(identity, sort_keys=True)
        label = re.sub(r'[\W_]+', '_', self.code.full_label).strip('_')
        return f'code_{label}_{hashlib.sha256(content.encode()).hexdigest()[:6]}'

    def inputs(self, environment: orm.Dict) -> dict[str, Any]:
        """Return the inputs of jobs that differ between the codes of a campaign.

        Parameters
        ----------
        environment
            The environment record of the code, which contains the device.
        """
        calculator = orm.Dict(without_models(self.calculator.model_dump(mode='json', exclude={'device'})))
        inputs: dict[str, Any] = {'code': self.code, 'calculator': calculator, 'environment': environment}
        if self.model is not None:
            inputs['model'] = self.model
        if self.member_models:
            inputs['member_models'] = dict(self.member_models)
        image = self.code.base.extras.get(IMAGE_SHA256, None)
        return inputs if image is None else {**inputs, 'image_sha256': orm.Str(image)}
