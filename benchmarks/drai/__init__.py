"""Whether content and style are apart: fresh probes, swaps and fidelity of DAI, its two constraints, and two baselines."""
