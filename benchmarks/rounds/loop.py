"""The rounds of a campaign, with the functions of its work chain but without AiiDA.

There are no hot runs, dimers or structures of other chemistry, so only the error decides whether a model is used.
"""

from collections.abc import Sequence
from dataclasses import asdict
from time import process_time
from typing import Any

import numpy as np
from ase import Atoms
from repeat import Repeat
from science import Settings, frames_of, label, predict
from scipy.stats import spearmanr

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.deviations import (
    FORCE,
    QUANTITIES,
    Deviations,
    estimate_errors,
    measure_errors,
    measure_uncertainties,
)
from aiida_mlip_autopipe.assessment.judge import TestSet, judge_model
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculations.rounds.draw_random_frames import _draw
from aiida_mlip_autopipe.rounds.conformal import ErrorBounds, calibrate, measure_coverage
from aiida_mlip_autopipe.rounds.random_share import N_RANDOM
from aiida_mlip_autopipe.rounds.stopping import BOUND_FACTOR
from aiida_mlip_autopipe.sampling import section_class, select_frames
from aiida_mlip_autopipe.sampling.pool.frames import collect_frames
from aiida_mlip_autopipe.structures.disagreement import with_uncertainties
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.trajectory import Trajectory
from aiida_mlip_autopipe.workflows.rounds.trainings import FRACTIONS, N_TUNINGS

N_SELECTED = 20
NO_FRAMES = Predictions.from_arrays([], [], [], [])


class Loop:
    """Rounds with one sampler.

    Parameters
    ----------
    repeat
        The repeat.
    sampler
        The ``sampling`` section without the number of structures.
    """

    def __init__(self, repeat: Repeat, sampler: Settings):
        self.repeat = repeat
        self.settings = section_class(sampler['kind']).model_validate({**sampler, 'n_structures': N_SELECTED})
        self.rows: list[Row] = []
        self.model = self.candidate = repeat.training.starting
        self.tunings: list[Settings] = []
        self.bounds: ErrorBounds | None = None

    def run(self, n_rounds: int) -> list[dict[str, Any]]:
        """Return the report of each round."""
        return [self._round(number) for number in range(1, n_rounds + 1)]

    def _round(self, number: int) -> dict[str, Any]:
        started = process_time()
        trajectories = self.repeat.explore(self.model)
        explored_s = process_time() - started
        disagreement = self._compare(frames_of(trajectories)) if self.tunings else None
        new = self._choose(trajectories, disagreement, number)
        self.rows += new
        coverage = self._measure_coverage(disagreement, number)
        started = process_time()
        former, self.tunings = self.model, []
        for place in range(N_TUNINGS):
            model, n_trained = self.repeat.train(self.rows, number, place)
            self.tunings.append(model)
        trained_s = process_time() - started
        self.candidate = self.tunings[0]
        judgement = self._judge(former)
        if judgement['accepted']:
            self.model = self.candidate
        bounds = self._calibrate(number)
        self.bounds = bounds if judgement['accepted'] else None
        explored = self._compare(frames_of(trajectories)).force_eV_A
        limit = BOUND_FACTOR * self.repeat.system.target_eV_A
        return {
            'n_labels': len(self.rows),
            'n_trained': n_trained,
            'error_eV_A': self.repeat.error(self.model),
            'errors_on_test_rows': judgement['errors'],
            'gain': judgement['gain'],
            'accepted': judgement['accepted'],
            'coverage': coverage,
            'fraction_bounded': float((bounds.bound(explored, [''] * len(explored)) < limit).mean()),
            'n_calibration_groups': bounds.n_groups,
            'n_trajectories': len(trajectories),
            'explored_s': explored_s,
            'trained_s': trained_s,
            **({'parts': self._train_parts(n_trained)} if number == 1 else {}),
        }

    def _choose(self, trajectories: list[Trajectory], disagreement: Deviations | None, number: int) -> list[Row]:
        """Return the rows of all chosen frames, first those that were drawn at random."""
        repeat = self.repeat
        reference = [row.atoms for row in self.rows]
        pool = collect_frames(trajectories, reference, repeat.kinds)
        drawn = _draw(pool, repeat.groups, repeat.random_seed, number, N_RANDOM)
        if disagreement is not None:
            ends = np.cumsum([len(one) for one in trajectories])[:-1]
            values = zip(*(np.split(getattr(disagreement, name), ends) for name in QUANTITIES), strict=True)
            trajectories = [with_uncertainties(one, found) for one, found in zip(trajectories, values, strict=True)]
        left = [index for index, one in enumerate(trajectories) if one.seed_id not in drawn.withheld_seeds]
        selection = select_frames(
            [trajectories[index] for index in left],
            self.settings,
            random_seed=repeat.random_seed,
            groups=repeat.groups,
            kinds=repeat.kinds,
            reference=reference,
        )
        places = [(int(pool.trajectory_indices[one]), int(pool.frame_indices[one])) for one in drawn.frames]
        keys = [{'role': role, 'split': 'test' if role == 'test' else 'train'} for role in drawn.roles]
        for trajectory, frame in zip(selection.trajectory_indices, selection.frame_indices, strict=True):
            places.append((left[trajectory], int(frame)))
            keys.append({'split': 'train'})
        starts = np.concatenate([[0], np.cumsum([len(one) for one in trajectories])])
        every = frames_of(trajectories)
        pairs = [
            {
                **own,
                'parent': repeat.groups[trajectories[trajectory].seed_id],
                'kind': repeat.kinds[trajectories[trajectory].seed_id],
                'round': number,
                'place': int(starts[trajectory] + frame),
            }
            for own, (trajectory, frame) in zip(keys, places, strict=True)
        ]
        return label([every[one['place']] for one in pairs], repeat.system.teacher, pairs)

    def _compare(self, frames: Sequence[Atoms]) -> Deviations:
        """Return the disagreement of the last three models about some frames."""
        return measure_uncertainties([predict(model, frames) for model in self.tunings])

    def _indices(self, role: str, number: int | None = None) -> list[int]:
        return [
            index
            for index, row in enumerate(self.rows)
            if row.key_value_pairs.get('role') == role and number in (None, row.key_value_pairs['round'])
        ]

    def _of(self, indices: Sequence[int]) -> tuple[list[Row], Predictions, list[str]]:
        rows = [self.rows[index] for index in indices]
        return rows, Predictions.from_rows(rows), [row.key_value_pairs['parent'] for row in rows]

    def _measure_coverage(self, disagreement: Deviations | None, number: int) -> dict[str, Any] | None:
        """Return the coverage of the bounds of the round before on the new random labels, by whether trained on."""
        if self.bounds is None or disagreement is None:
            return None
        rows, labels, groups = self._of([*self._indices('test', number), *self._indices('calibration', number)])
        errors = measure_errors(labels, predict(self.model, [row.atoms for row in rows])).force_eV_A
        uncertainties = disagreement.force_eV_A[[row.key_value_pairs['place'] for row in rows]]
        limits = self.bounds.bound(uncertainties, [row.key_value_pairs['kind'] for row in rows])
        known = {
            row.key_value_pairs['parent']
            for row in self.rows
            if row.key_value_pairs['round'] < number and row.key_value_pairs['split'] == 'train'
        }
        of_known = np.isin(groups, sorted(known))
        return {
            **asdict(measure_coverage(errors, limits, groups)),
            'below_in_trained_groups': (errors <= limits)[of_known].tolist(),
            'below_in_other_groups': (errors <= limits)[~of_known].tolist(),
            'correlation': float(spearmanr(errors, uncertainties).statistic),
        }

    def _judge(self, former: Settings) -> dict[str, Any]:
        indices = self._indices('test')
        rows, labels, groups = self._of(indices)
        new, before = (
            Assessment(predict(model, [row.atoms for row in rows]), tuple(indices), {}, NO_FRAMES)
            for model in (self.candidate, former)
        )
        return judge_model(new, before, before, TestSet(indices, labels, groups), self.repeat.random_seed)

    def _calibrate(self, number: int) -> ErrorBounds:
        rows, labels, groups = self._of(self._indices('calibration', number))
        frames = [row.atoms for row in rows]
        return calibrate(
            measure_errors(labels, predict(self.candidate, frames)).force_eV_A,
            self._compare(frames).force_eV_A,
            groups,
            [row.key_value_pairs['kind'] for row in rows],
        )

    def _train_parts(self, n_trained: int) -> list[dict[str, float]]:
        """Return the numbers of labels and errors of models that are trained on a part of the labels, and on all."""
        models = {fraction: self.repeat.train(self.rows, 1, 0, fraction) for fraction in FRACTIONS.values()}
        models[1.0] = (self.candidate, n_trained)
        rows, labels, groups = self._of(self._indices('test'))
        found = []
        for _, (model, n_labels) in sorted(models.items()):
            errors = measure_errors(labels, predict(model, [row.atoms for row in rows]))
            on_test_rows = estimate_errors(errors, groups, self.repeat.random_seed)[FORCE].value
            found.append({'n_trained': n_labels, 'on_test_rows': on_test_rows, 'error_eV_A': self.repeat.error(model)})
        return found
