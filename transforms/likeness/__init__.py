"""Records like those of a test set: a discriminator's odds as weights, and draws by them."""
