-- over: selected
-- The numbers of a selection's rows, in an order that the caller chose.
SELECT row_number
FROM selected
ORDER BY :order:
LIMIT $size
