"""The work chain of a campaign with rounds."""
