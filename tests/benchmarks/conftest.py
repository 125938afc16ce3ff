"""Miniature measurements: the numbers have to exist, not to be undisturbed."""

import gc

import pytest


@pytest.fixture(autouse=True)
def _no_collection_before_every_round(monkeypatch):
    # A third of a second each, with torch and transformers loaded.
    monkeypatch.setattr(gc, "collect", lambda: 0)
