"""What a training will cost before it is run: memory, communication, time, from formulas and a measured machine."""
