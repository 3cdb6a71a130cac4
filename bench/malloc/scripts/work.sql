-- A shop's day: rows in, found, joined, changed, deleted. Prints sums.
PRAGMA cache_size = 4000;
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER, price REAL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
INSERT INTO customer SELECT i, 'name ' || (i * 7919 % 10007), 'city ' || (i * 31 % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 140000)
INSERT INTO purchase
SELECT i, i * 7907 % 25000 + 1, i * 13 % 1009 / 10.0, printf('%*s', i % 60, hex(i * 97)) FROM n;
CREATE INDEX purchase_customer ON purchase (customer, price);
CREATE INDEX customer_city ON customer (city);
SELECT city, count(*), round(sum(price), 1) FROM customer JOIN purchase
ON purchase.customer = customer.id GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT count(DISTINCT substr(note, -3)), max(length(note)) FROM purchase;
SELECT length(group_concat(name, ';')) FROM (SELECT name FROM customer ORDER BY name, id);
SELECT sum(json_extract(j, '$.price')) FROM
(SELECT json_object('id', id, 'price', price, 'note', note) AS j FROM purchase WHERE id % 4 = 0);
UPDATE purchase SET note = upper(note) || '-' || id WHERE customer % 5 = 0;
DELETE FROM purchase WHERE price > 80;
SELECT count(*), sum(length(note)) FROM purchase;
SELECT name, rank() OVER (ORDER BY total DESC) FROM
(SELECT name, sum(price) AS total FROM customer JOIN purchase ON customer = customer.id
GROUP BY name) ORDER BY 2, 1 LIMIT 5;
