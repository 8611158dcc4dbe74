"""Where ECG signals come from."""
