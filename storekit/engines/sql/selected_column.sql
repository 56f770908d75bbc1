-- over: selected
-- The numbers of a selection's rows with one column, by that column alone. Rows alike in it are in no particular order.
SELECT row_number, :keys:
FROM selected
ORDER BY :order:
