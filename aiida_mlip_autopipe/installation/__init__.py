"""What a machine must have before a campaign runs: an AiiDA profile with its daemon, a computer, a code."""
