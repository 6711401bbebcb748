"""What every test may use: the fixtures for the broker and the store."""

pytest_plugins = ["tests.support.fixtures"]
