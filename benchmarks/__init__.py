"""Programs that measure speed, beside the bare environments, and learning, over several seeds."""
