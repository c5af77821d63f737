"""Encoders of speech: a front end on log-mel or samples, and a transformer, whole or in chunks.

`asr.distill` teaches them, other tasks may begin with them.
"""
