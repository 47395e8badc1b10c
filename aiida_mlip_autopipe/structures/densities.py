"""Conversion factors for densities (CODATA 2018)."""

from __future__ import annotations

DALTON_PER_A3 = 1.66053907
"""One dalton per Å³ in g/cm³."""
MOL_PER_CM3 = 0.602214076
"""One mole per cm³ in particles per Å³, and thus 1 g/cm³ in u/Å³."""
