"""What is known and checked of a run before it trains, and how long it takes."""
