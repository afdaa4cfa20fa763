"""What ``compare`` and ``ablate`` share: one bench that trains and measures, one way to show what was found."""
