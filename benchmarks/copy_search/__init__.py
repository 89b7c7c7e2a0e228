"""What the search for copies costs: nearest neighbours beside a bare matrix product, and whole images."""

import os

# Before numpy is loaded: one thread, so that one core is compared with one core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
