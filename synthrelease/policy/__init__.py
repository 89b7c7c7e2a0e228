"""Strict YAML in, frozen typed settings out; rules across settings, each a named function with its reason."""
