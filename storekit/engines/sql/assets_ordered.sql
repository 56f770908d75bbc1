-- The asset rows, by natural key.
-- over: assets
SELECT *
FROM assets
ORDER BY asset_name ASC NULLS LAST, asset_uri ASC NULLS LAST, key ASC NULLS LAST, asset_id ASC NULLS LAST
