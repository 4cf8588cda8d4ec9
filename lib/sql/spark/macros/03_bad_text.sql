-- Whether a text value is refused: over 128 code points, or a control, invisible or direction-changing character in it.
CREATE OR REPLACE TEMPORARY FUNCTION bad_text(value STRING, is_visible BOOLEAN) RETURNS BOOLEAN
RETURN CASE
    WHEN length(value) > 128 THEN true
    WHEN is_visible THEN false
    ELSE regexp_like(
        value,
        r'[\x00-\x1F\x7F-\x{9F}\x{AD}\x{61C}\x{180E}\x{200B}-\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{FEFF}]'
    )
END
