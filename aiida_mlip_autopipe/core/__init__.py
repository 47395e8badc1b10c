"""What every room uses: errors, settings, registries, random streams, atomic writes and hashing."""
