"""Gradients of patients, clipped and summed: three ways to the same numbers.

bookkeeping   one backward pass, norms and sums from what the layers saw; the default
vmapped       torch.func.vmap(grad) over patients; for what book-keeping does not know, and its judge
hooked        the per-sample gradients of Opacus, regrouped by patient; the second judge
"""
