"""What is asked of the services over HTTP and what they answer: the same structs for those who answer and those who ask.

Requests forbid unknown fields, so that a misspelled one is told; answers don't, so that an older client reads a newer
service. The browser's copy is made from these by services/web/scripts/generate_types.py.
"""
