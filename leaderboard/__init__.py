"""Ranking of drift reports and the static site; imports `valuedrift.suite` only."""
