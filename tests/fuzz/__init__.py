"""Thousands of bad inputs against the served API: none may break it, hang it, or be repeated by it."""
