"""Structures from files: reading them, and refusing what the readers of ASE would guess or misread."""
