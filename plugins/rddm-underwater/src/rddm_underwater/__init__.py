"""Underwater image enhancement for rddm: a task, a degradation, a backbone and two metrics, found by their names."""
