-- How many rows the two snapshots do not share, as bags, in every column.
SELECT CAST(count(*) AS BIGINT) AS entries
FROM (
    (SELECT * FROM older EXCEPT ALL SELECT * FROM newer)
    UNION ALL
    (SELECT * FROM newer EXCEPT ALL SELECT * FROM older)
) AS unshared
