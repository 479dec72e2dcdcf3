"""The program's doors, group by group: what is brought to each, and how it is broken by hand."""
