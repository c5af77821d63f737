"""N-gram language models of a recogniser's symbols: counted, smoothed, pruned and packed for the device."""
