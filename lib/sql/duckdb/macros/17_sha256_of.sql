-- SHA-256 of a text's UTF-8, lower-case hex.
CREATE MACRO sha256_of(value) AS sha256(value)
