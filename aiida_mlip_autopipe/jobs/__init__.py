"""Code shared by all kinds of job: contract, environment record, interruptions and allocated resources."""
