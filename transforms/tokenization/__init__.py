"""Records of text to rows of ids, and back."""
