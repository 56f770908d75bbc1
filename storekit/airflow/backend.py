"""`CleaningMetastoreBackend`: Airflow's own metastore backend, with storekit's cleanup in it."""

from __future__ import annotations

from typing import Any

from storekit.errors import MissingDriverError
from storekit.metastore.cleanup import delete_expired
from storekit.metastore.engines import Database
from storekit.metastore.summary import ExpiredRows

try:
    import structlog
    from airflow import settings
    from airflow.configuration import conf
    from airflow.state import metastore
except ImportError as error:
    missing = error.name or ""
    if missing in ("airflow", "structlog"):
        raise MissingDriverError(
            "storekit.airflow needs Apache Airflow 3.3 or later, which is not installed here",
            hint="import it in Airflow's own environment, or pip install 'storekit[airflow]'",
        ) from None
    if missing.startswith("airflow.state"):
        raise MissingDriverError(
            "storekit.airflow needs Apache Airflow 3.3 or later: this one has no state store",
            hint="pip install 'apache-airflow>=3.3,<4'",
        ) from None
    raise  # Airflow is there, and something that it needs is not: its own error says more

__all__ = ["CleaningMetastoreBackend"]

log = structlog.get_logger(__name__)


class CleaningMetastoreBackend(metastore.MetastoreBackend):  # type: ignore[misc]  # Any, where Airflow is not installed
    """Airflow's metastore backend, whose ``airflow state-store clean`` scales and never deletes what is alive.

    Set as ``[state_store] backend``. Everything but `cleanup` and the dry run is inherited. Both run on Airflow's own
    engine, with its clock and its ``[state_store] state_cleanup_batch_size``.
    """

    def cleanup(self) -> None:
        """Delete the task rows with ``expires_at < now``, each only if it still is so at its own deletion.

        A batch of ``state_cleanup_batch_size`` rows is a transaction, tried again where a lock or a lost connection
        fails it; 0 or less: all rows in one. At no size are rows fetched, or named one by one in the DELETE.

        Raises
        ------
        StorekitError
            If a batch fails for good. What those before it deleted is logged, and stays deleted.
        """
        database = Database.over(settings.get_engine())
        # As the stock class takes it, a negative size is none.
        batch_size = max(0, conf.getint("state_store", "state_cleanup_batch_size"))
        done = {"rows_deleted": 0, "bytes_deleted": 0, "batches": 0}
        try:
            for batch in delete_expired(database, now=_now(), batch_size=batch_size):
                done["rows_deleted"] += batch.deleted
                done["bytes_deleted"] += batch.deleted_bytes
                done["batches"] += batch.deleted > 0
        except BaseException:
            log.warning("Stopped deleting expired task_state_store rows", **done)
            raise
        log.info("Deleted expired task_state_store rows", **done)

    def _summary_dry_run(self) -> dict[str, Any]:
        """Return the rows that `cleanup` would delete now, as `ExpiredRows`: counted, and read while they are printed.

        Airflow's command takes its length, its truth, and (dag_id, run_id, task_id, map_index, key) of each row.
        """
        return {"expired": ExpiredRows(Database.over(settings.get_engine()), _now())}


def _now() -> Any:
    # By the name that the stock class reads its clock from, so that both always tell one time.
    return metastore.timezone.utcnow()
