-- The columns that come first in the natural order, as small numbers: the place of a value among the distinct ones,
-- in this order.
-- There are few distinct ones, so that joining their places costs a small part of sorting the rows by texts.
WITH
stores AS (
    SELECT store, row_number() OVER (ORDER BY store DESC NULLS LAST) AS place
    FROM (SELECT DISTINCT store FROM rows)
),
dag_ids AS (
    SELECT dag_id, row_number() OVER (ORDER BY dag_id ASC NULLS LAST) AS place
    FROM (SELECT DISTINCT dag_id FROM rows)
),
run_ids AS (
    SELECT run_id, row_number() OVER (ORDER BY run_id ASC NULLS LAST) AS place
    FROM (SELECT DISTINCT run_id FROM rows)
),
task_ids AS (
    SELECT task_id, row_number() OVER (ORDER BY task_id ASC NULLS LAST) AS place
    FROM (SELECT DISTINCT task_id FROM rows)
),
map_indexes AS (
    SELECT map_index, row_number() OVER (ORDER BY map_index ASC NULLS LAST) AS place
    FROM (SELECT DISTINCT map_index FROM rows)
),
asset_names AS (
    SELECT
        asset_name, asset_uri,
        row_number() OVER (ORDER BY asset_name ASC NULLS LAST, asset_uri ASC NULLS LAST) AS place
    FROM (SELECT DISTINCT asset_name, asset_uri FROM rows)
)
SELECT
    rows.rowid AS row_number,
    stores.place AS store, dag_ids.place AS dag_id, run_ids.place AS run_id,
    task_ids.place AS task_id, map_indexes.place AS map_index, asset_names.place AS asset
FROM rows
JOIN stores ON stores.store IS NOT DISTINCT FROM rows.store
JOIN dag_ids ON dag_ids.dag_id IS NOT DISTINCT FROM rows.dag_id
JOIN run_ids ON run_ids.run_id IS NOT DISTINCT FROM rows.run_id
JOIN task_ids ON task_ids.task_id IS NOT DISTINCT FROM rows.task_id
JOIN map_indexes ON map_indexes.map_index IS NOT DISTINCT FROM rows.map_index
JOIN asset_names
    ON asset_names.asset_name IS NOT DISTINCT FROM rows.asset_name
    AND asset_names.asset_uri IS NOT DISTINCT FROM rows.asset_uri
