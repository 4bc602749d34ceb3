"""The main process: start a run, watch its processes, report, end. Knows no mathematics."""
