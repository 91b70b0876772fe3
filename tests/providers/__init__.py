"""Tests of the providers: one conformance suite for all, real local peers at the other end."""
