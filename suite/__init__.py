"""Records, file formats, measures and statistics; imports nothing else of valuedrift, and no torch."""
