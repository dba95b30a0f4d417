"""Reads metrics as Prometheus would, from a text or from a run that serves them."""

from __future__ import annotations

import urllib.request

from tests.command import wait_for


def values_of(text):
    """Return the samples by name and labels."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert name not in found, f"{name} stands twice"
            found[name] = float(value)
    return found


def wait_for_metrics(port, name, value):
    """Return what a run serves at a port, once one sample has that value."""

    def scrape():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                found = values_of(answer.read().decode())
        except OSError:
            return None
        return found if found.get(name) == value else None

    return wait_for(scrape)
