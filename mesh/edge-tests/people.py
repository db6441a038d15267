"""People of the demonstration, who come in through the whole chain and take an order from the basket to the door."""

import datetime
import secrets
import uuid

import chain

# The kitchen and the courier answer at once; what is waited for are the events between.
STEP_S = 30


class Person:
    """Somebody of a region's demonstration, logged in through a door; `which` picks among those of a role."""

    def __init__(self, region, door, role, trace=None, address="127.0.0.1", **which):
        self.is_ = next(person for person in region.people()
                        if person["role"] == role and all(person[name] == value for name, value in which.items()))
        self.client = chain.Client(door.port, door.ca, http2=True, address=address)
        self.trace = trace or secrets.token_hex(16)
        answer = self.client.ask("POST", "/v1/sessions", self.login)
        assert answer.status_code == 200, answer.text
        self.headers = {"authorization": f"Bearer {answer.json()['access_token']}",
                        "traceparent": f"00-{self.trace}-{secrets.token_hex(8)}-01"}

    @property
    def login(self):
        return {"email": self.is_["email"], "password": self.is_["password"]}

    @property
    def country(self):
        return self.is_["place"]["country"]

    def ask(self, method, path, body=None):
        answer = self.client.ask(method, path, body, self.headers | {"idempotency-key": str(uuid.uuid4())})
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        # So that the next question is answered by somebody who has heard of this.
        if token := answer.headers.get("tiffin-consistency"):
            self.headers["tiffin-consistency"] = token
        return answer

    def get(self, path):
        return self.ask("GET", path).json()

    def product(self):
        return items(self.get(f"/v1/menu?country={self.country}"))[0]["id"]

    def wish(self):
        """What to `POST /v1/orders`, with one sandwich in the basket."""
        line = self.ask("PUT", f"/v1/basket/lines/{self.product()}", {"quantity": 1, "country": self.country})
        return {"basket_version": int(line.headers["etag"].strip('"').split(".")[0]), "kind": "delivery",
                "address_id": self.is_["address"], "payment": {"method": "card", "token": "pm_card_visa"}}

    def place(self):
        return self.ask("POST", "/v1/orders", self.wish()).json()["id"]


def items(page):
    return page if isinstance(page, list) else page["items"]


def complete(region, door, customer, order):
    """The kitchen cooks it and a courier brings it. All act under the customer's trace: what one of them begins goes on
    through the services of others, and no hop may lose it."""
    seen = chain.eventually("a kitchen is asked", lambda: asked(customer, order), STEP_S)
    kitchen = Person(region, door, "kitchen", customer.trace, food_point=seen["food_point"])
    # So late that the clock leaves it to the kitchen to begin.
    ready_by = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=30)).isoformat()
    kitchen.ask("POST", f"/v1/orders/{order}/accept", {"ready_by": ready_by})
    reaches(customer, order, "assigned")
    kitchen.ask("POST", f"/v1/orders/{order}/start", {})
    kitchen.ask("POST", f"/v1/orders/{order}/ready", {})

    courier = Person(region, door, "courier", customer.trace)
    courier.ask("PUT", "/v1/couriers/me/shift", {"on": True, "at": kitchen.is_["place"]["at"]})
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


def is_under_one_trace(region, customer, order):
    """Every event of the order, where it was written and where it was shown, is of the customer's trace. The platform
    must log what it shows: TIFFIN_LOG=info,mesh_projection::write=debug."""
    rows = region.query("order_master", "select type || ' ' || split_part(meta->>'traceparent', '-', 2) from events "
                                        f"where stream_id = '{order}' order by version")
    written = [tuple(row.split(" ")) for row in rows]
    assert {"order.created", "order.paid", "order.ready", "order.completed"} <= {kind for kind, _ in written}
    assert all(trace == customer.trace for _, trace in written), (customer.trace, written)

    def shown():
        lines = [line for line in region.logged("order-info", "event shown") if line["stream"] == order]
        return sorted((line["version"], line["event.type"], line["trace_id"]) for line in lines)

    expected = [(version, kind, customer.trace) for version, (kind, _) in enumerate(written, 1)]
    chain.eventually("the view has heard of all of it", lambda: len(shown()) >= len(expected), STEP_S)
    assert shown() == expected
