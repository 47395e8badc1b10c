"""What a person does with campaigns: follow, estimate, explain, stop, clean and export them."""
