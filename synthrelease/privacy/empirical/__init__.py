"""Lower bounds on epsilon from an experiment: who of the canaries took part, told from what a mechanism put out.

A canary is a made-up patient that takes part or not by a fair coin. If the outcome lets somebody guess the coins better
than (epsilon, delta) allows, the mechanism does not keep its claim. Everything here is a pure function of counts and
scores; :mod:`synthrelease.training.canary_audit` makes them.
"""
