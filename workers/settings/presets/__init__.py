"""What works for each algorithm: a table for each, observation or body -> values of flags."""
