"""Write scikit-learn's 1,797 digits as `experiments/data/digits.npz`: target (N, 8, 8), float32 in [0, 1]."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FILE = Path(__file__).parent / "data" / "digits.npz"

if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    np.savez(FILE, target=(load_digits().images / 16).astype(np.float32))
    print(FILE)
