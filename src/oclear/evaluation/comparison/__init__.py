"""The methods that people would use instead: how they read clicks, what they draw, what they ask for."""
