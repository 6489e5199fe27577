"""Hostile and broken inputs: what a catalogue, a file, a store or a user may hand over, and what must come of it.

`kinds` makes the cases (Hypothesis, fixed seeds), `judge` runs one and says result, refusal or fault, `batch` runs a
range of them in a process of its own, so that a crash, a hang or a full memory is caught and belongs to a case.
"""
