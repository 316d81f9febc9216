"""Documents in their final order, packed into rows."""
