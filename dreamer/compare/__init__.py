"""Many lives side by side: grids of strategies, streams and seeds, their statistics, and the page that shows them."""
