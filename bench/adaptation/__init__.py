"""Adaptation of an encoder to test images while it classifies them: results that depend on neighbours and order."""
