"""Retention, pure: no database is needed to decide, or to test, a row's fate."""

from storekit.retention.verdicts import Fate, Reason, Verdict, judge

__all__ = ["Fate", "Reason", "Verdict", "judge"]
