"""From a flag to objects: configuration, flags, recipes, presets. Knows no processes."""
