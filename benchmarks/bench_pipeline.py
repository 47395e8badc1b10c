"""Comparison of a campaign with a simple script for the same task, to find the cost of provenance and restarts.

The two run one after the other on the same cores, with the same seeds. Both run Langevin dynamics of the same length,
select frames by farthest point sampling with averaged SOAP, and write an ASE database. The script loads the calculator
once in each process, and the campaign loads it once in each job.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
SCRIPT = Path(__file__).with_name('plain_script.py')
CONFIG = """\
name: bench
random_seed: 1
generation:
  - kind: alloy
    composition: {{Cu: 0.5, Au: 0.5}}
    supercell: [2, 2, 2]
    n_seeds: {n_seeds}
    validation: {{min_width_factor: 0.5}}
calculator: {{kind: {kind}}}
exploration: {{ensemble: nvt, temperature_K: 600, n_steps: {n_steps}, frame_interval: 10, timestep_fs: 2}}
sampling: {{kind: fps, n_structures: 20}}
execution: {{reuse_finished: false}}
"""


@pytest.fixture
def environment(tmp_path):
    variables = {
        **os.environ,
        'AIIDA_PATH': str(tmp_path),
        'PATH': f'{BIN}:{os.environ["PATH"]}',
        'OMP_NUM_THREADS': '1',
    }
    yield variables
    subprocess.run([BIN / 'verdi', 'daemon', 'stop'], env=variables, capture_output=True, check=False)


@pytest.mark.parametrize(('kind', 'n_seeds', 'n_steps'), [('emt', 8, 2000), ('sevennet', 4, 200)])
def bench_campaign_against_plain_script(benchmark, environment, tmp_path, kind, n_seeds, n_steps):
    def call(*command):
        started = time.perf_counter()
        subprocess.run([*map(str, command)], env=environment, cwd=tmp_path, check=True, capture_output=True)
        return time.perf_counter() - started

    config = tmp_path / 'bench.yaml'
    config.write_text(CONFIG.format(kind=kind, n_seeds=n_seeds, n_steps=n_steps))
    call(BIN / 'mlip-autopipe', 'setup', '--calculator', kind)
    # The daemon starts first, because it is usually already running if a user has run a campaign before.
    call(BIN / 'verdi', 'daemon', 'start')
    call(BIN / 'mlip-autopipe', 'generate', config, '-o', 'seeds.extxyz')

    script_s = call(sys.executable, SCRIPT, 'seeds.extxyz', kind, n_steps, 10, 600, 20, 'script.db')
    campaign_s = benchmark.pedantic(
        call, args=(BIN / 'mlip-autopipe', 'run', config, '--force'), rounds=1, iterations=1
    )
    in_jobs_s = seconds_in_jobs(environment)
    cores = len(os.sched_getaffinity(0))
    engine_s = (campaign_s * cores - in_jobs_s) / n_seeds
    benchmark.extra_info.update(script_s=script_s, ratio=campaign_s / script_s, engine_s_per_job=engine_s)
    print(
        f'\n{kind}, {n_seeds} seeds of 32 atoms, {n_steps} steps, {cores} cores: '
        f'campaign {campaign_s:.1f} s, script {script_s:.1f} s, ratio {campaign_s / script_s:.2f}; '
        f'outside the jobs {engine_s:.2f} core seconds per job'
    )


def seconds_in_jobs(environment):
    """Return the wall time in which the jobs loaded their calculators and ran the dynamics."""
    script = (
        'from aiida import load_profile, orm; import json; load_profile(); '
        'jobs = orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True); '
        "print(json.dumps(sum(job.outputs.result['load_s'] + job.outputs.result['loop_s'] for job in jobs)))"
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)
