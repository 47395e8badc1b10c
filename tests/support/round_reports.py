"""Reports of rounds, as `decide_round` writes them."""

from __future__ import annotations

from typing import Any


def make_estimate(value: float | None) -> dict[str, float | None]:
    return {'value': value, 'upper_limit': None if value is None else 1.25 * value}


def make_errors(force: float) -> dict[str, Any]:
    errors = {'force_eV_A': force, 'stress_GPa': 10 * force, 'energy_eV_atom': force / 10}
    return {name: make_estimate(value) for name, value in errors.items()}


def make_report(
    number: int = 1,
    force: float = 0.1,
    *,
    former: float = 0.4,
    failures: tuple[str, ...] = (),
    reason: str | None = None,
    pooled: float | None = 2.0,
    estimate: bool = False,
    drift_eV_A: float | None = 0.01,
) -> dict[str, Any]:
    """Return the report of a round whose new model does not meet the conditions ``failures``."""
    accepted = not failures
    errors = make_errors(force if accepted else former)
    return {
        'round': number,
        'n_labels': 40 * number,
        'candidate': 'tuning_0',
        'failures': {},
        'errors': {
            'n_labels': 40 * number,
            'accepted': accepted,
            'force_error': errors.pop('force_eV_A'),
            'further_errors': errors,
            'fraction_bounded': 0.75,
            'gain': make_estimate(0.5) if accepted else None,
        },
        'decision': {'reason': reason, 'message': f'the decision of round {number}'},
        'judgement': {
            'accepted': accepted,
            'failures': [{'condition': one, 'message': f'<{one}>'} for one in failures],
            'errors': {'new': make_errors(force), 'former': make_errors(former)},
            'gain': make_estimate(0.5),
            'n_hot_runs': 4,
            'n_survived': 1,
            'n_survived_before': 4,
            'holes': [],
            'drift_eV_A': drift_eV_A,
            'max_drift_eV_A': None if drift_eV_A is None else 0.02,
        },
        'bounds': {
            'bounds': {'force_eV_A': {'pooled': pooled, 'n_scores': 10, 'n_groups': 6 if pooled is None else 10}},
        },
        'coverage': None if number == 1 else {'force_eV_A': {'fraction': 0.875}},
        'label_estimate': {'median': 321.0, 'low': 210.0, 'high': 654.0} if estimate else None,
    }


def make_training(n_epochs: int = 3) -> dict[str, Any]:
    """Return the report of a training run."""
    return {
        'n_frames': {'train': 27, 'valid': 3},
        'initial_errors': {'valid': {'force_rmse_eV_A': 0.4}},
        'final_errors': {'valid': {'force_rmse_eV_A': 0.0625}},
        'epochs': [{'epoch': one + 1, 'valid_force_rmse_eV_A': 0.4 / (one + 1)} for one in range(n_epochs)],
        'best_epoch': 3,
        'wall_time_s': 12.3,
    }


def make_rounds(*reports: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return what the report card shows about rounds."""
    return {
        'targets': {'force_eV_A': 0.05},
        'label_budget': 200,
        'maximum': 4,
        'rounds': [{**one, 'trainings': {'tuning_0': make_training()}, 'pk': 100 + one['round']} for one in reports],
        'errors_by_kind': {},
        'suggestions': [],
        **fields,
    }
