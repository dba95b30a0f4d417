"""DECIDES. No file, process, clock, randomness or log: they are passed in."""
