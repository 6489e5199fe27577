"""Room of lakecube: see its modules."""
