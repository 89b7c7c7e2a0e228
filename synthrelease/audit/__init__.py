"""Judges a synthetic archive against the private one: evidence with intervals, and a verdict by their bad end."""
