"""Recipes and training, sequences, the tracer: everything that runs a model; heavy packages load on use."""
