"""Our count of answers reads in a scrape as that of the library's own counters and histograms does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from api.operations.metrics import AnswerCollector

ANSWERS = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/badges", "/modules/{moduleId}", "other"]),
    st.sampled_from([200, 304, 404, 503]),
    st.sampled_from([*Histogram.DEFAULT_BUCKETS[:-1], 0.0, 1e9]) | st.floats(0, 20),
)


def scraped(registry: CollectorRegistry) -> list[str]:
    return sorted(generate_latest(registry).decode().splitlines())


@given(st.lists(ANSWERS, max_size=40))
def test_a_scrape_is_the_same_as_the_librarys(answers: list[tuple[str, str, int, float]]) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    collector = AnswerCollector()
    ours.register(collector)
    counter = Counter(
        "registry_http_requests_total",
        "Answers by route and status",
        ["method", "route", "status"],
        registry=theirs,
    )
    seconds = Histogram(
        "registry_http_request_seconds", "Time to answer", ["method", "route"], registry=theirs
    )
    for method, route, status, took in answers:
        collector.observe(method, route, status, took)
        counter.labels(method, route, str(status)).inc()
        seconds.labels(method, route).observe(took)
    assert scraped(ours) == scraped(theirs)
