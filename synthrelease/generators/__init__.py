"""Generators of labelled images with masks. They know nothing of privacy: training privatises whatever sees real data."""
