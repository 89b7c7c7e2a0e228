"""How a training image may hide in an archive, one kind of change a module; the registry stands in ``audit.planted``.

Every change is fixed and drawn from the generator that it is given. Lengths are stated for an image of 64 pixels on a
side and grow with it.
"""
