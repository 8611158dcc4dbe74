"""How far a denoised ECG is from the clean one."""
