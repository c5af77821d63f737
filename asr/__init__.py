"""Speech to text: networks, data, training and search. The device never imports this package."""
