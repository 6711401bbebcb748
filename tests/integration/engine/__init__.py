"""The training engine, with real TensorFlow: the child process over its pipes, and the engine's parts."""
