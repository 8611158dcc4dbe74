"""What components of other packages are written with: everything they need of rddm, and nothing that may change.

These names, their signatures and meanings, and those of the abstract methods are kept within a minor version before
1.0, and within a major version from 1.0 on; see docs/plugins.md. Whatever else is in `rddm.core` may move at any time.
`rddm.testing` tests components, and is kept in the same way.
"""

from rddm.core import images
from rddm.core.component import Component, Model
from rddm.core.draws import Range, draw, seeded, smooth_field, within
from rddm.core.embedding import TimeEmbedding
from rddm.core.errors import DataError, OutputError, RddmError, ShapeError, SpecError, suggest
from rddm.core.folders import by_name
from rddm.core.heads import INPUT, NOISE, RES, X0, Target, decode, encode
from rddm.core.images import Array
from rddm.core.kinds import (
    Backbone,
    Choice,
    Degradation,
    Grid,
    ImageMetric,
    Mask,
    Metric,
    Positive,
    Record,
    Records,
    Route,
    Sampler,
    Schedule,
    SetMetric,
    Solver,
    Source,
    Task,
    usual_metrics,
)
from rddm.core.light import to_linear, to_srgb
from rddm.core.named import Named, resolve
from rddm.core.process import (
    Node,
    Path,
    Prediction,
    Spectrum,
    check_eta,
    combine,
    forward,
    posterior_std,
    reverse_step,
    scale,
    spread,
)

__all__ = [
    "INPUT",
    "NOISE",
    "RES",
    "X0",
    "Array",
    "Backbone",
    "Choice",
    "Component",
    "DataError",
    "Degradation",
    "Grid",
    "ImageMetric",
    "Mask",
    "Metric",
    "Model",
    "Named",
    "Node",
    "OutputError",
    "Path",
    "Positive",
    "Prediction",
    "Range",
    "RddmError",
    "Record",
    "Records",
    "Route",
    "Sampler",
    "Schedule",
    "SetMetric",
    "ShapeError",
    "Solver",
    "Source",
    "SpecError",
    "Spectrum",
    "Target",
    "Task",
    "TimeEmbedding",
    "by_name",
    "check_eta",
    "combine",
    "decode",
    "draw",
    "encode",
    "forward",
    "images",
    "posterior_std",
    "resolve",
    "reverse_step",
    "scale",
    "seeded",
    "smooth_field",
    "spread",
    "suggest",
    "to_linear",
    "to_srgb",
    "usual_metrics",
    "within",
]
