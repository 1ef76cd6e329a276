"""Multilevel models for people in time: within- and between-person parts, fitted exactly and fast."""
