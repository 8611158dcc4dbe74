"""Noise of electrodes, muscles and the mains."""
