"""Students of self-supervised and other large speech encoders, with cheap front ends."""
