"""Clusters, molecules, and how they are packed and placed."""
