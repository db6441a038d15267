"""One order from the phone's side of HAProxy to its end, under one trace that the app has begun."""

import json
import time

import pytest

import chain
import people
from people import STEP_S


@pytest.fixture(scope="module")
def placed(region, haproxy):
    customer = people.Person(region, haproxy, "customer")
    return customer, customer.place()


def test_an_order_through_the_chain_completes(region, haproxy, placed):
    customer, order = placed
    people.complete(region, haproxy, customer, order)


def test_its_trace_is_the_one_that_the_app_began(region, placed):
    customer, order = placed
    people.is_under_one_trace(region, customer, order)
    # The payment was asked for by an event of that order, and heard from the bus.
    metas = region.query("basket_master", "select meta from events where stream_id = "
                                          f"'{order.replace('ord_', 'pay_')}' and version = 1")
    assert json.loads(metas[0])["traceparent"].split("-")[1] == customer.trace


def test_an_app_without_a_trace_is_given_one_at_the_door(region, haproxy, placed):
    customer, _ = placed
    product = customer.product()
    headers = {name: value for name, value in customer.headers.items() if name != "traceparent"}
    answer = customer.client.ask("PUT", f"/v1/basket/lines/{product}", {"quantity": 1, "country": customer.country}, headers)
    assert answer.is_success, answer.text
    basket = f"bas_{customer.is_['id'].removeprefix('usr_')}" if "id" in customer.is_ else None
    found = region.query("basket_master", "select meta->>'traceparent' from events where type = 'basket.line_set' "
                                          + (f"and stream_id = '{basket}' " if basket else "") + "order by position desc limit 1")
    trace = found[0].split("-")[1]
    assert len(trace) == 32 and trace != customer.trace
    shown = chain.eventually("the view has heard of it", lambda: [
        line for line in region.logged("basket-info", "event shown") if line.get("trace_id") == trace], STEP_S)
    assert shown[0]["event.type"] == "basket.line_set"


def test_a_live_stream_comes_through_piece_by_piece(placed):
    customer, order = placed
    with customer.client.fresh() as client:
        with client.stream("GET", f"/v1/orders/{order}/live", headers=customer.headers) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            first = next(stream.iter_lines())
            assert first.startswith(("event:", "id:", "data:", ":", "retry:")), first


def test_a_live_stream_outlives_every_other_time_out(placed):
    """Past the time-outs of everything else on the way: heartbeats keep it."""
    customer, order = placed
    began = time.monotonic()
    with customer.client.fresh() as client:
        with client.stream("GET", f"/v1/orders/{order}/live", headers=customer.headers) as stream:
            held_s = next((time.monotonic() - began for _ in stream.iter_lines() if time.monotonic() - began > 22), 0)
    assert held_s > 22, f"ended after {time.monotonic() - began:.1f} s"
