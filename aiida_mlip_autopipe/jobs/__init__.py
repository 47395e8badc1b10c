"""Code that all jobs share: contract, environment record, interruptions and allocated resources."""
