"""Notebooks and reports in a real browser. A package, so that its one browser closes when its tests are over."""
