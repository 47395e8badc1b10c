"""Crystals: lattices, ordered and quasi-random alloys, prototypes and supercells."""
