"""Residual Denoising Diffusion Models: image restoration and translation as one dual diffusion."""

__version__ = "0.1.0"
