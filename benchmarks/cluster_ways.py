"""Overhead of a job on this machine and on the test cluster, in an environment and in an image.

    tests/cluster/up.sh && tests/cluster/stack/images.sh base sevennet mace
    . /var/lib/mlip-autopipe-cluster/environment
    .venv-mace/bin/python tests/support/tiny_mace.py tiny.model
    python benchmarks/cluster_ways.py --mace-model tiny.model [--repeat 3] [--kinds emt sevennet mace]

The startup is the time from the start of the program to the end of its self-test, which loads the calculator and
evaluates four atoms. Its CPU time is measured, too, because other programs may run on the machine. The overhead
is the time from the submission of a job to its end in AiiDA, minus the run time of its program. All values are medians.
In this benchmark, AiiDA polls the scheduler every second. A longer poll interval adds to the overhead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

STACK = Path(os.environ.get('MLIP_AUTOPIPE_STACK', '/var/lib/mlip-autopipe-cluster'))
IMAGES = {'emt': 'base.sif', 'sevennet': 'sevennet.sif', 'mace': 'mace.sif'}
RUNNER = ('-m', 'aiida_mlip_autopipe.exploration')
POLL_S = 0.1


def main() -> None:
    """Run the measurements and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--kinds', nargs='+', choices=IMAGES, default=[*IMAGES])
    parser.add_argument('--mace-model', type=Path, help='MACE model (tests/support/tiny_mace.py writes a small one)')
    arguments = parser.parse_args()
    os.environ |= {'OMP_NUM_THREADS': '1', 'APPTAINER_NO_PRIVS': '1'}
    with tempfile.TemporaryDirectory() as folder, temporary_profile(folder):
        print('| case | startup, s | startup, CPU s | overhead per job, s | image, MB |\n|---|---|---|---|---|')
        for kind in arguments.kinds:
            settings = {'kind': kind}
            if kind == 'mace':
                settings |= {'model': str(arguments.mace_model.resolve()), 'cutoff_A': 4.0, 'device': 'cpu'}
            for image in (None, STACK / 'images' / IMAGES[kind]):
                startups = [time_startup(settings, image) for _ in range(arguments.repeat)]
                startup = ' | '.join(f'{median(times):.1f}' for times in zip(*startups, strict=True))
                for computer in ('localhost', 'hpc'):
                    overheads = [time_overhead(computer, settings, image) for _ in range(arguments.repeat)]
                    size = f'{image.stat().st_size / 1e6:.0f}' if image else ''
                    where = f'{computer}, {image.name if image else "environment"}'
                    print(f'| {kind}, {where} | {startup} | {median(overheads):.1f} | {size} |', flush=True)


@contextmanager
def temporary_profile(folder: str) -> Iterator[None]:
    """Create a profile with a daemon and the computers ``localhost`` and ``hpc``."""
    os.environ['AIIDA_PATH'] = folder
    from aiida import orm
    from aiida.engine.daemon.client import get_daemon_client

    from aiida_mlip_autopipe.installation.codes import ensure_computer
    from aiida_mlip_autopipe.installation.computers import Site, add_computer
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, ensure_profile

    ensure_profile(None)
    ensure_daemon()
    try:
        computer, _ = ensure_computer()
        computer.set_use_double_quotes(True)
        workdir = str(STACK / 'users' / 'mlipuser' / 'benchmark')
        _, problems = add_computer(Site('hpc', 'hpc', 'slurm', workdir, poll_interval_s=1.0, connection_interval_s=0.0))
        assert not problems, problems
        assert orm.load_computer('hpc').is_configured
        yield
    finally:
        get_daemon_client().stop_daemon(wait=True)


def interpreter(kind: str) -> Path:
    """Return the Python interpreter in the environment of a calculator."""
    return STACK / 'software' / IMAGES[kind].removesuffix('.sif') / 'bin' / 'python'


def time_startup(settings: dict[str, object], image: Path | None) -> tuple[float, float]:
    """Return the wall time and the CPU time of a self-test, in s."""
    python = [interpreter(str(settings['kind']))]
    if image is not None:
        model = settings.get('model')
        bind = ['--bind', str(Path(str(model)).parent)] if model else []
        python = ['apptainer', 'exec', *bind, str(image), '/opt/mlip/bin/python']
    started, before = time.perf_counter(), os.times()
    subprocess.run([*python, *RUNNER, '--self-test', json.dumps(settings)], check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def time_overhead(computer: str, settings: dict[str, object], image: Path | None) -> float:
    """Return the time that a self-test takes as a job, minus the run time of its script, in s."""
    from aiida import orm
    from aiida.engine import submit

    from aiida_mlip_autopipe.calculations.self_test import SelfTestCalculation
    from aiida_mlip_autopipe.data.model import ModelData
    from aiida_mlip_autopipe.installation.images import PYTHON_IN_IMAGE, engine_command
    from aiida_mlip_autopipe.installation.models import ensure_model_folder, place_model
    from aiida_mlip_autopipe.jobs.resources import JobResources
    from aiida_mlip_autopipe.workflows.inputs.codes import job_options

    node = orm.load_computer(computer)
    common = {
        'label': f'code-{time.time_ns()}',
        'computer': node,
        'default_calc_job_plugin': 'mlip_autopipe.self_test',
        'prepend_text': 'date +%s.%N >began',
        'append_text': 'date +%s.%N >ended',
        'with_mpi': False,
    }
    if image is None:
        python = str(interpreter(str(settings['kind'])))
        code = orm.InstalledCode(filepath_executable=python, **common).store()
    else:
        engine = engine_command(ensure_model_folder(node))
        about = {'filepath_executable': PYTHON_IN_IMAGE, 'engine_command': engine, 'image_name': str(image)}
        code = orm.ContainerizedCode(**about, **common).store()
    builder = SelfTestCalculation.get_builder()
    if 'model' in settings:
        file = Path(str(settings['model']))
        place_model(node, file)
        builder.model = ModelData.from_file(file, str(settings['kind']))
        settings = {name: value for name, value in settings.items() if name != 'model'}
    builder.code = code
    builder.calculator = orm.Dict(settings)
    builder.metadata.options = job_options(JobResources(memory_MB=4000), node)
    started = time.time()
    job = submit(builder)
    while not job.is_terminated:
        time.sleep(POLL_S)
    took = time.time() - started
    assert job.is_finished_ok, job.exit_message
    folder = Path(job.outputs.remote_folder.get_remote_path())
    return took - (float((folder / 'ended').read_text()) - float((folder / 'began').read_text()))


if __name__ == '__main__':
    main()
