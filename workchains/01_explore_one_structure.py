"""Explore one of your structures: ``verdi run workchains/01_explore_one_structure.py FILE [calculator]``.

The script shows the inputs of `ExplorationWorkChain`: the seed, the settings and the code. The work chain runs in this
process and needs no daemon.
"""

import sys

import ase.io
from aiida import orm
from aiida.engine import run_get_node
from pydantic import TypeAdapter

from aiida_mlip_autopipe.calculations.explore import exploration_inputs
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import CALCULATORS, RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.installation.codes import LOCAL_COMPUTER, code_label
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import model_node, place_models


def main() -> None:
    """Run the exploration, and print the number of frames and their energy range."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    kind = sys.argv[2] if len(sys.argv) > 2 else 'sevennet'
    calculator = TypeAdapter(CALCULATORS.settings_union()).validate_python({'kind': kind})
    exploration = ExplorationSettings(temperature_K=600, n_steps=200, frame_interval=20)
    code = orm.load_code(f'{code_label(kind)}@{LOCAL_COMPUTER}')
    # The code, its calculator, and the node of the model. The job verifies the environment of the code.
    job_code = JobCode(code, calculator, JobResources(), model=model_node(calculator, code))
    place_models([job_code], print)
    _, node = run_get_node(
        ExplorationWorkChain,
        job={
            **job_code.inputs(Environments(print).node(job_code)),
            'seed': SeedData.from_seed(Seed(ase.io.read(sys.argv[1]), {'kind': 'structures'})),
            'random_seed': orm.Int(1),
            **exploration_inputs(exploration),
            'runner_version': orm.Str(RUNNER_VERSION),
        },
    )
    print(f'{node.process_label}<{node.pk}>: {node.exit_message or "finished"}')
    for label, frames in sorted(node.outputs.legs.items()):
        energies = frames.get_array('energies')
        print(f'{label}: {counted(len(energies), "frame")}, {energies.min():.3f} to {energies.max():.3f} eV')


if __name__ == '__main__':
    main()
