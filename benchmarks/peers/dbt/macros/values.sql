{# A cell as a value: spaces and tabs trimmed, blank is null. #}
{% macro value(column) -%}
    nullif(trim({{ column }}, E' \t'), '')
{%- endmacro %}

{# Whether a text holds a control, invisible or direction-changing character, or more than 128 characters. #}
{% macro is_bad_text(column) -%}
    (
        length({{ column }}) > 128
        OR regexp_matches(
            {{ column }},
            '[\x00-\x1F\x7F-\x{9F}\x{AD}\x{61C}\x{180E}\x{200B}-\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{FEFF}]'
        )
    )
{%- endmacro %}

{# The whole of an ISO date, with a time and a zone or without. #}
{% macro iso() -%}
    '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?'
{%- endmacro %}
