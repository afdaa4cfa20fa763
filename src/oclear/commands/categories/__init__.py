"""``oclear categories``: look into a categorize folder."""
