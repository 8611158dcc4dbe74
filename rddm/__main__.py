"""`python -m rddm`, which is also what `torchrun -m rddm fit ...` starts."""

from rddm.cli import main

main()
