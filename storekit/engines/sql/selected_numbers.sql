-- over: selected
-- The numbers of a selection's rows, in no particular order.
SELECT row_number
FROM selected
