"""Jobs for Dataflow, against a stand-in for it."""
