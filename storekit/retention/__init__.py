"""Retention, pure: no database is needed to decide, or to test, a row's fate."""

from storekit.retention.forecast import DailyHistory, Forecast, forecast
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.retention.policyfile import load_policies, policy_schema
from storekit.retention.verdicts import Fate, Reason, Verdict, judge
from storekit.retention.workload import Cleanup, DeleteRun, Success, Workload, Write, play

__all__ = [
    "AS_WRITTEN",
    "Cleanup",
    "DailyHistory",
    "DeleteRun",
    "Fate",
    "Forecast",
    "Policy",
    "Reason",
    "Rule",
    "Success",
    "Verdict",
    "Workload",
    "Write",
    "forecast",
    "judge",
    "load_policies",
    "play",
    "policy_schema",
]
