"""The networks that the engine can build, by starting model."""
