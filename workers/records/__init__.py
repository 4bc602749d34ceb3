"""What stays on disk and screen. Knows no networks and no processes."""
