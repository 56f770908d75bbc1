-- What simulation knows of every row, in no particular order; it keeps to the order in which they come.
SELECT
    rowid AS row_number, store, dag_id, task_id, key, task_state,
    updated_at, expires_at, never_expire, value_bytes, is_reference
FROM rows
