"""The actions on campaigns: follow, estimate, explain, stop, clean and export them."""
