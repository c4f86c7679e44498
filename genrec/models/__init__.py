"""Neural scorers: embedding x backbone x objective x negatives x loss, and the loop that trains them."""
