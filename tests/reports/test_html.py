"""The page: complete, without script or network, and closed to what data would smuggle in."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from assay.analysis.examples import LatentPage
from assay.record import Record
from assay.reports import Report
from assay.reports.html import render

MakeRecord = Callable[..., Record]
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements with attributes, text, and whether every element was closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""

    def attributes(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def policy(page: Page) -> str:
    (found,) = [
        a["content"] for tag, a in page.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert found is not None
    return found


def test_nothing_may_load_or_run(report: Report) -> None:
    html = render(report)
    page = Page(html)
    directives = dict(part.strip().split(" ", 1) for part in policy(page).split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives) == {"default-src", "style-src", "img-src", "base-uri", "form-action"}
    assert "unsafe" not in policy(page)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert directives["style-src"] == f"'sha256-{digest}'"


def test_the_policy_precedes_everything_that_it_governs(report: Report) -> None:
    tags = [(tag, attributes) for tag, attributes in Page(render(report)).elements]
    before = [tag for tag, attributes in tags[: [a.get("http-equiv") is not None for _, a in tags].index(True)]]
    assert before == ["html", "head", "meta"]


def test_nothing_points_elsewhere(report: Report) -> None:
    html = render(report)
    page = Page(html)
    assert not re.search(r"https?://|//[a-z]|url\(|@import", html)
    for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
        for target in page.attributes(name):
            assert (target or "").startswith(("#", "data:image/svg+xml;base64,"))
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "form", "base", "img"}


def test_no_attribute_carries_style_or_script(report: Report) -> None:
    for tag, attributes in Page(render(report)).elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag


def test_links_within_the_page_lead_somewhere(report: Report) -> None:
    page = Page(render(report))
    wanted = {target[1:] for target in page.attributes("href") if target and target.startswith("#")}
    assert wanted == {
        "found",
        "frontier",
        "arms",
        "training",
        "densities",
        "latents",
        "limits",
        "measured",
        "provenance",
    }
    assert wanted <= set(page.attributes("id"))


def test_every_figure_is_well_formed_and_described(report: Report) -> None:
    figures = re.findall(r"<figure.*?</figure>", render(report), re.DOTALL)
    assert len(figures) == 4 + 3 + 2
    for figure in figures:
        (drawing,) = [child for child in ElementTree.fromstring(figure) if child.tag == "svg"]
        assert len(drawing.get("aria-label") or "") > 40


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style></title><h1>",
        "{{ 7 * 7 }}",
        "\u202eevil",
    ],
)
def test_hostile_text_stays_text_wherever_it_stands(
    hostile: str, report: Report, make_record: MakeRecord, make_latent: Callable[..., LatentPage]
) -> None:
    plain = Page(render(report))
    record = make_record(hostile, 0.1, 20.0, arm=hostile, **{hostile: 1.0})
    page = Page(
        render(
            Report(
                title=hostile,
                command=hostile,
                provenance={hostile: hostile, "model": hostile},
                metrics={hostile: report.metrics["l0"].model_copy(update={"formula": hostile, "unit": hostile})},
                records=(*report.records, record),
                curves={**report.curves, hostile: report.curves["gated-0.1-s0"]},
                densities={**report.densities, hostile: report.densities["gated-0.1-s0"]},
                latents=(make_latent(hostile, arm=hostile),),
                timings={hostile: 1.0},
            )
        )
    )
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements} | {"details", "summary", "i"}
    assert {name for _, a in page.elements for name in a} <= {name for _, a in plain.elements for name in a}
    assert "\u202e" not in page.text
    assert page.text.count(hostile.replace("\u202e", "U+202E")) >= 10


def test_undefined_numbers_are_dashes(make_record: MakeRecord) -> None:
    records = (
        make_record("gated", 0.1, 20.0, loss_recovered_zero=None, explained_variance=0.5),
        make_record("gated", 0.2, 10.0, loss_recovered_zero=0.9, explained_variance=None),
    )
    html = render(Report(title="t", command="c", records=records))
    assert html.count(">–</td>") == 2
    assert "None" not in html
    assert "nan" not in Page(html).text.lower().split()


def test_a_report_of_nothing_still_renders() -> None:
    assert "Nothing was measured." in Page(render(Report(title="t", command="c"))).text


def test_one_record_and_no_latents_still_render(make_record: MakeRecord) -> None:
    record = make_record("gated", 0.1, 20.0, explained_variance=0.5)
    text = Page(render(Report(title="t", command="c", records=(record,)))).text
    assert "A sparse dictionary (Gated) with 64 latents" in text
    assert "0.500" in text


def test_a_report_without_tokens_or_firings_still_renders(report: Report) -> None:
    from assay.reports import Histogram

    empty = {arm: Histogram(edges=(), counts=(), dead=64) for arm in report.densities}
    assert 'id="densities"' not in render(report.model_copy(update={"densities": empty, "curves": {}}))


def test_more_families_than_colours_still_render(make_record: MakeRecord) -> None:
    records = tuple(
        make_record("gated", dial, 10.0 / dial, arm=f"kind{number}-{dial:g}", explained_variance=0.1 * number)
        for number in range(9)
        for dial in (0.1, 0.2)
    )
    page = Page(render(Report(title="t", command="c", records=records)))
    assert "kind8" in page.text


def test_the_page_says_what_it_shows(report: Report) -> None:
    text = Page(render(report)).text
    for sentence in report.summary:
        assert sentence in text
    for said in (
        "resid_post.1 of tiny",
        "1,000 held-out tokens",
        "200,704",
        "4 min",
        "42 s",
        "8 of 64 dead",
        "one in 400",
    ):
        assert said in text


def test_contexts_are_shaded_and_their_peak_is_marked(report: Report) -> None:
    assert '…<bdi>the</bdi> <bdi class="h10" title="1">cat</bdi> <bdi class="h20 peak" title="2">sat</bdi>' in render(
        report
    ).replace("… <bdi>the", "…<bdi>the")


def test_the_style_sheet_knows_every_class_of_shade_and_colour(report: Report) -> None:
    style = render(report).split("<style>")[1].split("</style>")[0]
    assert all(f".h{step} {{" in style for step in range(1, 21))
    assert all(f".v{colour} {{" in style for colour in range(7))


def test_the_course_of_training_names_those_alone_that_have_one(report: Report) -> None:
    learning = {arm: curve for arm, curve in report.curves.items() if arm.startswith("gated")}
    (legend,) = re.findall(
        r'id="training".*?<p class="legend">(.*?)</p>',
        render(report.model_copy(update={"curves": learning})),
        re.DOTALL,
    )
    assert len(re.findall("<span", legend)) == 1
    assert "Gated" in legend
