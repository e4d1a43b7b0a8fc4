"""Jobs for Python and the command line: distill, train, compare, sweep, and the runs that they return."""
