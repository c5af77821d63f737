"""Which language, which dialect: networks, data, training and calibration. The device never imports it."""
