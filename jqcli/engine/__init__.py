"""ATTEMPTS. Runs handlers somewhere and says what became of each attempt."""
