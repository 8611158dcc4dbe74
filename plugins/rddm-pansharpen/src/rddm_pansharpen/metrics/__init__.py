"""How good a fused image is."""
