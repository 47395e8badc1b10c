"""The actions on campaigns: estimate, submit, follow, stop, resume, report, export and clean them."""
