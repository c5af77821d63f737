"""Keyword spotting: networks, data, training and calibration. The device never imports this package."""
