"""Code shared by all subpackages: errors, settings, registries, random streams, atomic writes and hashing."""
