"""What resuming and extending a campaign require: unchanged inputs, no leftover or lost processes, reusable results."""
