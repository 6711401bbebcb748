"""The training engine: everything that touches TensorFlow, and the pure parts it stands on.

Importing this package imports no TensorFlow, so that `schedule`, `anchors`, `metrics` and `stepping` can be used and tested
without it. Only the child process imports `run`. The engine reports through a callable and is stopped through a
`StopSignal`; it knows neither the bus, nor HTTP, nor where files go after it has written them.
"""
