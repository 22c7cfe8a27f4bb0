-- Tables, an index, joins, aggregates, sorting, updates and deletions in memory.
CREATE TABLE item(id INTEGER PRIMARY KEY, grp INTEGER, name TEXT, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO item SELECT i, (i * 7919) % 97, printf('item-%06d', (i * 104729) % 1000003), ((i * 31) % 1000) / 8.0 FROM n;
CREATE INDEX item_name ON item(name);
CREATE TABLE part(item INTEGER, amount INTEGER);
INSERT INTO part SELECT (id * 13) % 40000 + 1, id % 11 FROM item;
CREATE INDEX part_item ON part(item);
SELECT grp, count(*), sum(price), min(name), max(name) FROM item GROUP BY grp ORDER BY 3 DESC LIMIT 20;
SELECT i.grp, sum(p.amount * i.price) FROM item i JOIN part p ON p.item = i.id GROUP BY i.grp ORDER BY 1;
UPDATE item SET price = price * 1.5 WHERE name LIKE 'item-0%';
SELECT count(*), total(price) FROM item WHERE name BETWEEN 'item-2' AND 'item-5';
DELETE FROM item WHERE id % 3 = 0;
SELECT name, price FROM item ORDER BY price DESC, name LIMIT 50;
SELECT substr(name, 6, 2) AS head, count(DISTINCT grp), avg(length(name)) FROM item GROUP BY head ORDER BY head;
