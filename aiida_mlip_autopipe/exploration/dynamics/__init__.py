"""Molecular dynamics: ensembles, integrators and the schedule of temperatures and pressures."""
