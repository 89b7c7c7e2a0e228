"""What a private training step costs beside the plain one, Opacus, and one gradient a patient by ``vmap``.

    python -m benchmarks.dp_step [--quick] [--network NAME] [--resolution N] [--batch N] [--contender NAME]

All contenders do the same work on the same patients: the gradient of each patient's mean loss, clipped, added, noised
on every parameter, divided by a constant, and one step of Adam. The plain step is the mean loss, its gradient, and Adam.
"""
