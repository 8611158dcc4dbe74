"""Pansharpening with rddm: a source of pairs by Wald's protocol, metrics, classical methods, and GeoTIFF in and out."""
