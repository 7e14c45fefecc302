"""`dreamer compare`: strategies x streams x seeds, their statistics, and the page that shows them."""
