"""A code of a campaign, with its calculator, its model and the resources of its jobs."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from aiida import orm

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.config.execution import JobResources, StashSettings
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.installation.codes import IMAGE_SHA256

# Settings of the model, which is a separate input and is identified by its content.
OF_THE_MODEL = {'model', 'model_sha256', 'store_model'}


@dataclass(frozen=True)
class JobCode:
    """A code of a campaign, with its calculator, its model and the resources of its jobs."""

    code: orm.AbstractCode
    calculator: CalculatorSettings
    resources: JobResources
    stash: StashSettings | None = None
    model: ModelData | None = None

    @property
    def key(self) -> str:
        """A name that depends on the code, the calculator with its device, and the content of the model."""
        calculator = self.calculator.model_dump(mode='json', exclude=OF_THE_MODEL)
        model = None if self.model is None else self.model.sha256
        content = json.dumps([self.code.full_label, calculator, model], sort_keys=True)
        label = re.sub(r'[\W_]+', '_', self.code.full_label).strip('_')
        return f'code_{label}_{hashlib.sha256(content.encode()).hexdigest()[:6]}'

    def inputs(self, environment: orm.Dict) -> dict[str, orm.Data]:
        """Return the inputs of jobs that differ between the codes of a campaign.

        Parameters
        ----------
        environment
            The environment record of the code, which contains the device.
        """
        calculator = orm.Dict(self.calculator.model_dump(mode='json', exclude=OF_THE_MODEL | {'device'}))
        inputs = {'code': self.code, 'calculator': calculator, 'environment': environment}
        if self.model is not None:
            inputs['model'] = self.model
        image = self.code.base.extras.get(IMAGE_SHA256, None)
        return inputs if image is None else {**inputs, 'image_sha256': orm.Str(image)}
