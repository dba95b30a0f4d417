"""The report of a run: one page of HTML that needs nothing else, not even a script, to be read."""
