"""Measurements: each prints a table, compares with what a user would pick instead, and ends in one line of JSON."""
