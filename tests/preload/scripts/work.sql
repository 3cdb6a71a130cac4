-- What applications ask of SQLite: many rows, indexes, joins, text, windows, updates.
.mode list
PRAGMA cache_size = -2000;
PRAGMA temp_store = memory;
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, town TEXT, age INTEGER, note BLOB);
CREATE TABLE visit(person INTEGER REFERENCES person(id), day INTEGER, cost REAL, words TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO person SELECT i, 'name' || (i * 7919 % 5003), 'town' || (i * 31 % 97), i * 17 % 90,
    zeroblob(i % 200) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO visit SELECT i * 48271 % 20000 + 1, i * 13 % 365, (i % 1000) / 8.0,
    substr('alpha beta gamma delta epsilon zeta eta theta', i % 30 + 1, i % 15) FROM n;
COMMIT;
CREATE INDEX person_name ON person(name, age);
CREATE INDEX visit_person ON visit(person, day);
SELECT town, count(*), sum(cost), max(words), group_concat(DISTINCT day % 9)
    FROM visit JOIN person ON person.id = visit.person GROUP BY town ORDER BY town;
SELECT name, age, rank() OVER (PARTITION BY town ORDER BY age DESC, id) AS place,
    sum(age) OVER (ORDER BY id ROWS 20 PRECEDING) FROM person ORDER BY id LIMIT 500 OFFSET 3000;
WITH RECURSIVE walk(id, depth) AS (SELECT 1, 0 UNION
    SELECT id * 7 % 20000 + 1, depth + 1 FROM walk WHERE depth < 3000)
SELECT count(*), sum(id), max(depth) FROM walk;
UPDATE person SET name = upper(name) || age, note = NULL WHERE id % 3 = 0;
DELETE FROM visit WHERE day BETWEEN 100 AND 150;
CREATE VIRTUAL TABLE letters USING fts5(body);
INSERT INTO letters SELECT words || ' ' || name FROM visit JOIN person ON id = person LIMIT 10000;
SELECT count(*), sum(rowid) FROM letters WHERE letters MATCH 'beta OR gam*';
SELECT json_group_array(json_object('id', id, 'name', name)) FROM (SELECT * FROM person LIMIT 300);
SELECT printf('%08x %s', id * 2654435761 % 4294967296, hex(zeroblob(id % 40))) FROM person
    WHERE name LIKE '%44%' ORDER BY name COLLATE NOCASE, id;
DROP INDEX person_name;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(length(note)), count(DISTINCT name) FROM person;
