"""Where analysis SQL runs: the texts in ``sql/``, kept once, over a few functions that each engine declares."""
