"""Short programs to start from: one for each thing that people want to add or to do."""
