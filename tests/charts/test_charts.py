"""Charts as SVG text."""

import json
import math
import xml.etree.ElementTree as ET

import pytest

from mlpeft.charts.line_chart import LineChart, Series
from mlpeft.charts.scales import Scale, log_ticks, span, tick_label
from mlpeft.charts.svg import Markup, element

NAN = math.nan


def drawn(*series, **options):
    chart = LineChart(title="T", x_label="x", y_label="y", series=series, **options)
    return ET.fromstring(chart.render())  # noqa: S314 - our own


def texts(picture):
    return [node.text for node in picture.iter() if node.tag.endswith("}text")]


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", "<script>")
    assert inner == "<b>&lt;script&gt;</b>"
    assert element("p", inner, 'a"b', title='"<') == (
        '<p title="&quot;&lt;"><b>&lt;script&gt;</b>a&quot;b</p>'
    )
    assert isinstance(inner, Markup)


def test_ticks_are_round_and_inside():
    assert Scale(0.0, 1.0, 0, 100).ticks(5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(3.0, 97.0, 0, 100).ticks(4) == [25, 50, 75]
    assert log_ticks(0.05, 3.0) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])
    assert log_ticks(1e-6, 10.0)[:2] == pytest.approx([1e-6, 1e-5])
    assert [tick_label(v) for v in (0, 1500, 0.05, 2e7)] == [
        "0",
        "1,500",
        "0.05",
        "20M",
    ]


def test_a_range_holds_all_finite_values_and_is_never_empty():
    assert span([1.0, 3.0, NAN, math.inf], log=False, pad=0.5) == (0.0, 4.0)
    low, high = span([2.0, 2.0], log=False)
    assert low < 2.0 < high
    assert span([0.0, -1.0], log=True) == (0.1, 1.0)


def test_a_log_axis_has_equal_lengths_for_equal_ratios():
    scale = Scale(0.01, 1.0, 0.0, 100.0, log=True)
    assert scale(0.1) == pytest.approx(50.0)


def test_a_gap_breaks_the_line_and_bands_follow_their_edges():
    series = Series(
        "loss", [0, 1, 2], [1.0, NAN, 3.0], [0.5, NAN, 2.5], [1.5, NAN, 3.5]
    )
    picture = drawn(series)
    paths = {n.get("class"): n.get("d") for n in picture.iter() if n.get("d")}
    assert paths["line"].count("M") == 2
    assert paths["band"].endswith("Z")


def test_a_chart_without_values_says_so():
    assert texts(drawn(Series("a", [0], [NAN]), empty="Nothing yet")) == ["Nothing yet"]
    assert texts(drawn(empty="Nothing yet")) == ["Nothing yet"]


def test_lines_differ_without_colour_and_have_a_legend():
    picture = drawn(
        Series("a", [0, 1], [1, 2]), Series("b", [0, 1], [2, 1]), markers=True
    )
    assert {"a", "b"} <= set(texts(picture))
    shapes = {
        n.tag.rpartition("}")[2] for n in picture.iter() if n.get("class") == "marker"
    }
    assert {"circle", "rect"} <= shapes


def test_a_script_finds_the_values_of_every_point():
    picture = drawn(Series("a<b", [0.0, 1.0], [1.0, NAN], [0.9, NAN], [1.1, NAN]))
    data = json.loads(picture.get("data-chart"))
    (series,) = data["series"]
    assert series["name"] == "a<b"
    assert series["y"] == [1.0, None]
    assert series["half"] == [0.1, None]
    assert data["x"] == [0.0, 1.0]


def test_the_same_values_give_the_same_bytes():
    chart = LineChart(
        title="T", x_label="x", y_label="y", series=[Series("a", [1], [2])]
    )
    assert chart.render() == chart.render()
