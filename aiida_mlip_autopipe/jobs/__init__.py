"""What all kinds of job share: the contract, the environment record, interruptions and what the scheduler granted."""
