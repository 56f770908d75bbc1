"""What a real Airflow loads by dotted path; importing it needs Airflow 3.3 or later, and none of pandas, DuckDB, Arrow.

.. code-block:: ini

    [state_store]
    backend = storekit.airflow.CleaningMetastoreBackend
"""

from storekit.airflow.backend import CleaningMetastoreBackend

__all__ = ["CleaningMetastoreBackend"]
