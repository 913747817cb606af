"""What is counted is shown in Prometheus' format, whatever the labels are."""

from machinery.metrics import Counter, Exposition, Gauge, Histogram


def shown(*collectors) -> list[str]:
    media, body = Exposition(collectors).render("text/plain")
    assert media.startswith("text/plain; version=")
    return [line for line in body.decode().splitlines() if not line.startswith(("#", "process_"))]


def test_counters_grow_by_their_labels():
    counter = Counter("requests", "Help.", ("verb", "code"))
    counter.add(("GET", "200"))
    counter.add(("GET", "200"), 2)
    counter.add(("PUT", "409"))
    assert shown(counter) == ['requests_total{code="200",verb="GET"} 3.0', 'requests_total{code="409",verb="PUT"} 1.0']


def test_a_histogram_counts_what_is_at_most_its_bound():
    histogram = Histogram("seconds", "Help.", ("verb",), (0.1, 1))
    for value in (0.05, 0.1, 0.5, 3):
        histogram.observe(value, ("GET",))
    assert shown(histogram) == [
        'seconds_bucket{le="0.1",verb="GET"} 2.0', 'seconds_bucket{le="1",verb="GET"} 3.0',
        'seconds_bucket{le="+Inf",verb="GET"} 4.0', 'seconds_count{verb="GET"} 4.0', 'seconds_sum{verb="GET"} 3.65',
    ]  # fmt: skip


def test_a_gauge_is_asked_when_it_is_shown():
    now = {("a",): 1.0}
    gauge = Gauge("things", "Help.", ("kind",), lambda: now)
    total = Gauge("events_total", "Help.", ("kind",), lambda: now, counts=True)
    now["a",] = 2.0
    assert shown(gauge, total) == ['things{kind="a"} 2.0', 'events_total{kind="a"} 2.0']
