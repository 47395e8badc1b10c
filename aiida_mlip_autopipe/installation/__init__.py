"""The setup for campaigns: an AiiDA profile with its daemon, computers, and codes with their environments or images."""
