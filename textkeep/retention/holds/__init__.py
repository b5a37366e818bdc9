"""Legal holds: what one is, what it covers, how it comes and ends, and how what it covers is kept beyond its day."""
