"""Label structures without a campaign."""
