"""ECG denoising by residual diffusion: sources, noise, metrics, and classical filters to compare with."""
