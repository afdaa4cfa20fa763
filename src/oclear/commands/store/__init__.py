"""``oclear store``: look into, change and check an index folder."""
