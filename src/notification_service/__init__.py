"""Accepts, routes, delivers and tracks every notification a product sends."""
