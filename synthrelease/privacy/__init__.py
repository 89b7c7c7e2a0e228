"""The claim: patient-level sampling, clipping, noise, accounting, calibration and the budget.

One step, as it is run and as it is accounted (unit: a patient with all images, masks and labels; adjacency: add or
remove one patient):

    B      <- every training patient, independently with probability q          (sampling)
    g_p    <- mean over patient p's drawn images and noise draws of the gradient (clipping)
    g_p    <- 0 where not finite;  g_p * min(1, C / |g_p|)                       (clipping)
    count one step of the plan, on disk, before any noise is drawn               (account)
    update <- (sum over B of g_p + N(0, sigma^2 C^2 I)) / (q * expected_patients) (mechanism)

``PrivacyPlan`` couples q, C, sigma, the number of steps and the accounted mechanism, so they cannot disagree.
"""
