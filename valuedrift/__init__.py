"""valuedrift: how a language model's expressed values move during post-training."""

__version__ = "0.1.0"
