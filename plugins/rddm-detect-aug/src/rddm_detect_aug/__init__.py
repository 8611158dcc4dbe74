"""Diffusion as a part of a detection pipeline: images restored before detection, training images drawn for it."""
