"""The ways in which one patient can reach another patient's loss, each with its mathematics."""

from __future__ import annotations

from enum import Enum


class Cause(Enum):
    """What is wrong, and why the noise does not cover it. P is the number of patients in a batch, C the clip norm."""

    STATISTIC = (
        "the gradient of one example's loss with respect to the other examples is not zero: a value over the whole batch "
        "(mean, deviation, attention) runs through the network",
        "One patient more changes that value, and with it the vectors of all P patients, by up to 2C each: the sum moves "
        "by up to (2P - 1) C.",
    )
    CONTRAST = (
        "the gradient of one example's loss with respect to the other examples is not zero: the loss compares the examples "
        "of a batch (contrast, InfoNCE, a normalised or averaged score)",
        "Each patient is a negative or a term in the denominator of everybody else, so one patient more changes all P "
        "vectors, by up to 2C each: the sum moves by up to (2P - 1) C. Compare with public or generated examples instead.",
    )
    PAIR = (
        "the gradient of one example's loss with respect to another example is not zero: examples are paired or blended "
        "(relativistic pairs, mixup, shifted rows)",
        "A patient who leaves takes a term out of the partner's vector, which changes by up to 2C besides the own C: the sum "
        "moves by up to 3C, and by more where the pairs are dealt anew. Pair with generated or the patient's own images.",
    )
    DETACHED = (
        "changing other examples changes one example's loss, though no gradient shows it: a detached or discrete value "
        "crosses (a batch statistic under no_grad, counts of labels, a nearest neighbour in the batch)",
        "Clipping bounds each vector, not its dependence on others: the value moves with every patient, and all P vectors "
        "with it, by up to 2C each.",
    )
    COUNT = (
        "taking examples out of the batch changes the losses of those that stay: by how many they are, or by their places",
        "How many patients were drawn is private. A loss that is divided by it, or that draws by place, changes all vectors "
        "when one patient comes or goes. Divide by the public constant after noising; draw for each patient on its own.",
    )
    DRAWS = (
        "the loss of equal inputs differs from call to call, because it draws inside the loss (dropout, noise)",
        "Such draws come from one stream in the order of the batch and from a public seed: one patient more shifts the "
        "draws, and so the vectors, of all that stand behind. Draw in the player's draw, which has a stream for each patient.",
    )
    MEMORY = (
        "the loss of equal inputs differs from call to call, because it keeps what it saw (a memory bank, a queue, a running "
        "value)",
        "What is kept of one patient enters the losses of all later ones without clipping and without noise.",
    )
    BUFFER = (
        "the network's buffers change with the examples during the forward pass (running statistics, a codebook moved by "
        "exponential averages)",
        "An average of real images in a buffer is a release of its own, neither clipped nor noised, and every later step "
        "and sample reads it. Learn a codebook by its gradient, or keep statistics out of the network.",
    )
    ITERATION = (
        "the network's buffers change during the forward pass, though not with the examples (power iteration of a spectral "
        "norm, a counter)",
        "From the weights alone such an update is harmless once a step. Inside the forward pass it runs once for each block "
        "of drawn patients, so that their number, which is private, is kept without noise. Iterate outside of the loss, or use "
        "weight normalisation.",
    )
    SHAPE = (
        "the loss does not give one number an example",
        "What is not divided by example cannot be clipped by patient.",
    )
    BATCH = (
        "the loss cannot be computed when some examples are taken out of the batch",
        "Batches of drawn patients have any size; a layer that needs groups of examples mixes those in a group.",
    )
    NOT_FINITE = (
        "the loss of ordinary random inputs is not finite, so nothing can be tried",
        "A loss that is infinite or undefined on ordinary values would set every patient's vector to zero.",
    )

    @property
    def what(self) -> str:
        """What was seen."""
        return str(self.value[0])

    @property
    def mathematics(self) -> str:
        """Why it is refused."""
        return str(self.value[1])
