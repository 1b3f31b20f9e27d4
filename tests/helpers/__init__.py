"""Oracles, small models and command lines that several tests share."""
