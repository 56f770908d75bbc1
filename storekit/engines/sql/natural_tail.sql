-- The numbers of all rows, by the columns that come last in the natural order.
SELECT rowid AS row_number
FROM rows
ORDER BY :order:
