"""The commands, one module for those that belong together; each is imported only when it runs."""
