"""The `trainyard` command: what a team does from a terminal. A client like the web page; knows services by their HTTP alone."""
