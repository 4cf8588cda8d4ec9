"""Markup of notebooks gets its place in the page, and stays inert."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lib.safe_html import Outline, clean_html, place_html


def test_headings_step_down_and_the_first_is_the_stage() -> None:
    outline = Outline("stage-02")
    placed = place_html("<h1>02 · Stage &amp; more</h1><p>x</p><h2>Inputs</h2>", outline)
    assert placed == '<h2 id="stage-02">02 · Stage &amp; more</h2><p>x</p><h3>Inputs</h3>'
    assert (outline.stage, outline.heading) == ("02 · Stage & more", "Inputs")
    assert place_html("<h1>Another</h1>", outline) == "<h2>Another</h2>", "an id stands once"


def test_a_table_gets_a_region_of_its_own_with_a_name_and_header_cells() -> None:
    outline = Outline("stage-01")
    place_html("<h1>01 · Extract</h1><h2>Batch</h2>", outline)
    head = "<thead><tr><th style='text-align: right'>rows</th></tr></thead>"
    placed = place_html(f"<table>{head}<tbody><tr><td>1</td></tr></tbody></table>", outline)
    assert placed == (
        '<div class="scroll" role="region" tabindex="0" aria-label="Table 1: Batch, 01 · Extract"><table>'
        '<thead><tr><th scope="col" style="text-align:right">rows</th></tr></thead><tbody><tr><td>1</td></tr></tbody>'
        "</table></div>"
    )


def test_a_table_without_a_head_has_its_names_in_the_first_column() -> None:
    placed = place_html("<table><tr><td>run</td><td>1</td></tr><tr><td>by</td><td>2</td></tr></table>", Outline("x"))
    row = '<tr><th scope="row">{}</th><td>{}</td></tr>'
    assert f"<tbody>{row.format('run', 1)}{row.format('by', 2)}</tbody>" in placed


def test_what_stands_in_quotes_or_between_tags_is_no_tag() -> None:
    outline = Outline("x")
    heading = "<h1><abbr title='</h1><table>\"&lt;td&gt;'>A &lt;h2&gt; &amp; B</abbr></h1>"
    placed = place_html(f"{heading}<table><tr><td>&lt;/table&gt;</td></tr></table>", outline)
    assert outline.heading == "A <h2> & B"
    assert 'aria-label="Table 1: A &lt;h2&gt; &amp; B"' in placed
    assert [tag for tag, _ in tags_of(placed)] == ["h2", "abbr", "div", "table", "tbody", "tr", "th"]
    assert placed.endswith("&lt;/table&gt;</th></tr></tbody></table></div>")


def test_of_unknown_markup_the_text_stays() -> None:
    assert clean_html("<p>in <blink>delivery</blink> <unknown>7</p><script>1</script>") == "<p>in delivery 7</p>"


def tags_of(markup: str) -> list[tuple[str, dict[str, str | None]]]:
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))  # type: ignore[method-assign]
    parser.feed(markup)
    return tags


@pytest.mark.parametrize(
    "markup",
    [
        "<h1><script>alert(1)</script></h1>", "<h2 id='main' onclick='x()'>a</h2>", "<table onload=x>",
        "<div class='scroll' tabindex='5' aria-label='x'>a</div>", "<p id='show-code' class='top'>a</p>", "<input>",
        "<svg onload=alert(1)></svg>", "<a href='javascript:alert(1)' target='_blank'>a</a>", "<base href='http://x'>",
    ],
)  # fmt: skip
def test_what_could_run_load_or_pose_as_the_page_is_gone(markup: str) -> None:
    for made in (place_html(markup, Outline("x")), clean_html(markup)):
        tags = tags_of(made)
        assert {tag for tag, _ in tags} <= {"h1", "h2", "h3", "table", "tbody", "tr", "th", "td", "div", "p", "a"}
        for _, attributes in tags:
            assert {*attributes} <= {"class", "scope", "role", "tabindex", "aria-label", "id"}
            assert attributes.get("id") in (None, "x") and attributes.get("tabindex") in (None, "0")
