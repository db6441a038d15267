"""One order from the phone's side of HAProxy to its end, under one trace that the app has begun."""

import datetime
import json
import secrets
import time
import uuid

import pytest

import chain

# The kitchen and the courier answer at once; what is waited for are the events between.
STEP_S = 30


class Person:
    """Somebody of the demonstration, logged in through the whole chain."""

    def __init__(self, region, door, role, **which):
        self.is_ = next(person for person in region.people()
                        if person["role"] == role and all(person[name] == value for name, value in which.items()))
        self.client = chain.Client(door.port, region.public_ca, http2=True)
        self.trace = secrets.token_hex(16)
        said = {"email": self.is_["email"], "password": self.is_["password"]}
        answer = self.client.ask("POST", "/v1/sessions", said)
        assert answer.status_code == 200, answer.text
        self.headers = {"authorization": f"Bearer {answer.json()['access_token']}",
                        "traceparent": f"00-{self.trace}-{secrets.token_hex(8)}-01"}

    def ask(self, method, path, body=None):
        answer = self.client.ask(method, path, body, self.headers | {"idempotency-key": str(uuid.uuid4())})
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        # So that the next question is answered by somebody who has heard of this.
        if token := answer.headers.get("tiffin-consistency"):
            self.headers["tiffin-consistency"] = token
        return answer

    def get(self, path):
        return self.ask("GET", path).json()


def items(page):
    return page if isinstance(page, list) else page["items"]


@pytest.fixture(scope="module")
def placed(region, haproxy):
    customer = Person(region, haproxy, "customer")
    country = customer.is_["place"]["country"]
    product = items(customer.get(f"/v1/menu?country={country}"))[0]["id"]
    version = json.loads(customer.ask("PUT", f"/v1/basket/lines/{product}", {"quantity": 1, "country": country})
                         .headers["etag"].strip('"').split(".")[0])
    order = customer.ask("POST", "/v1/orders", {
        "basket_version": version, "kind": "delivery", "address_id": customer.is_["address"],
        "payment": {"method": "card", "token": "pm_card_visa"}}).json()["id"]
    return customer, order


def test_an_order_through_the_chain_completes(region, haproxy, placed):
    customer, order = placed
    seen = chain.eventually("a kitchen is asked", lambda: asked(customer, order), STEP_S)
    kitchen = Person(region, haproxy, "kitchen", food_point=seen["food_point"])
    # So late that the clock leaves it to the kitchen to begin.
    ready_by = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=30)).isoformat()
    kitchen.ask("POST", f"/v1/orders/{order}/accept", {"ready_by": ready_by})
    reaches(customer, order, "assigned")
    kitchen.ask("POST", f"/v1/orders/{order}/start", {})
    kitchen.ask("POST", f"/v1/orders/{order}/ready", {})

    courier = Person(region, haproxy, "courier")
    at = kitchen.is_["place"]["at"]
    courier.ask("PUT", "/v1/couriers/me/shift", {"on": True, "at": at})
    delivery = order.replace("ord_", "dlv_")
    chain.eventually("the courier is asked", lambda: offered(courier, order), STEP_S)
    courier.ask("POST", f"/v1/deliveries/{delivery}/accept", {})
    courier.ask("POST", f"/v1/deliveries/{delivery}/pick-up", {})
    reaches(customer, order, "in_delivery")
    courier.ask("POST", f"/v1/deliveries/{delivery}/deliver", {"photo": "photo-1"})
    reaches(customer, order, "completed")
    courier.ask("PUT", "/v1/couriers/me/shift", {"on": False})


def asked(customer, order):
    document = customer.get(f"/v1/orders/{order}")
    return document if document.get("ticket") == "offered" else None


def offered(courier, order):
    return [job for job in items(courier.get("/v1/couriers/me/jobs")) if job["order"] == order]


def reaches(customer, order, status):
    chain.eventually(f"the order is {status}", lambda: customer.get(f"/v1/orders/{order}")["status"] == status, STEP_S)


def test_its_trace_is_the_one_that_the_app_began(region, placed):
    customer, order = placed
    metas = region.query("order_master", f"select meta from events where stream_id = '{order}' and version = 1")
    trace = json.loads(metas[0]).get("traceparent", "")
    assert trace.split("-")[1] == customer.trace
    # The payment was asked for by an event of that order, and heard from the bus.
    metas = region.query("basket_master", "select meta from events where stream_id = "
                                          f"'{order.replace('ord_', 'pay_')}' and version = 1")
    assert json.loads(metas[0])["traceparent"].split("-")[1] == customer.trace


def test_its_trace_reaches_the_view(region, placed):
    """A platform that is up already must log it: TIFFIN_LOG=info,mesh_projection::write=debug."""
    customer, order = placed

    def shown():
        lines = region.logged("order-info", "event shown")
        return {line["event.type"]: line["trace_id"] for line in lines if line["stream"] == order and line["version"] == 1}

    assert chain.eventually("the view has heard of the order", shown, STEP_S) == {"order.created": customer.trace}


def test_an_app_without_a_trace_is_given_one_at_the_door(region, haproxy, placed):
    customer, _ = placed
    product = items(customer.get(f"/v1/menu?country={customer.is_['place']['country']}"))[0]["id"]
    headers = {name: value for name, value in customer.headers.items() if name != "traceparent"}
    answer = customer.client.ask("PUT", f"/v1/basket/lines/{product}", {"quantity": 1, "country": customer.is_["place"]["country"]},
                                 headers)
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
    """Past the ingress's 12 s and HAProxy's 20 s: heartbeats keep it."""
    customer, order = placed
    began = time.monotonic()
    with customer.client.fresh() as client:
        with client.stream("GET", f"/v1/orders/{order}/live", headers=customer.headers) as stream:
            held_s = next((time.monotonic() - began for _ in stream.iter_lines() if time.monotonic() - began > 22), 0)
    assert held_s > 22, f"ended after {time.monotonic() - began:.1f} s"
