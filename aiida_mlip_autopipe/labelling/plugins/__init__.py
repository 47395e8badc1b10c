"""The inputs of the processes of other AiiDA plugins that label structures."""
