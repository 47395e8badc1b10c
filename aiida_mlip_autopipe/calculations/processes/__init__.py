"""The processes of other plugins that label one structure, one plugin in each module."""
