-- A whole snapshot, in no particular order: sorting it would hold it twice.
SELECT * FROM rows
