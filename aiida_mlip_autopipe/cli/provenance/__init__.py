"""The commands that show what campaigns did and where their rows come from, and that write and read archives."""
