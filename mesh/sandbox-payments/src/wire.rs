//! Stripe's words: form parameters in, JSON objects out. Knows the ledger's types, not how they travel.
//! Strict where Stripe is: an unknown, repeated or malformed parameter is refused by name.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::cards::Card;
use crate::ledger::{
    Answer, Command, Metadata, NoticeKind, ORDER_ID, Outcome, Payment, Pending, Refund, Refusal, Status,
};

/// Stripe's own bound: eight digits of minor units.
const AMOUNT_MAX: u64 = 99_999_999;
/// Stripe's bounds on metadata, which keep one journal line small.
const METADATA_MAX: usize = 50;
const METADATA_NAME_MAX: usize = 40;
const METADATA_VALUE_MAX: usize = 500;
/// Stripe's words for why a payment was cancelled.
const CANCELLATION_REASONS: [&str; 4] = ["abandoned", "duplicate", "fraudulent", "requested_by_customer"];

/// An answer that is not a success: status and the inside of `{"error": …}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    pub status: u16,
    pub error: Value,
}

impl Error {
    /// The caller's request is wrong in itself; nothing happened and nothing is remembered.
    pub fn invalid(code: &str, param: &str, message: impl Into<String>) -> Error {
        let message = message.into();
        Error {
            status: 400,
            error: json!({"type": "invalid_request_error", "code": code, "param": param, "message": message}),
        }
    }

    /// Any other error, without a code.
    pub fn new(status: u16, kind: &str, message: &str) -> Error {
        Error {
            status,
            error: json!({"type": kind, "message": message}),
        }
    }

    /// 404: there is no such thing.
    pub fn missing(what: &str, param: &str) -> Error {
        Error {
            status: 404,
            ..Error::invalid("resource_missing", param, format!("No such {what}"))
        }
    }

    /// The idempotency key belongs to another request.
    pub fn key_reused() -> Error {
        let message = "Keys for idempotent requests can only be used with the same parameters \
                       and route they were first used with.";
        Error {
            status: 400,
            error: json!({"type": "idempotency_error", "code": "idempotency_key_in_use", "message": message}),
        }
    }
}

/// The parameters of one request; what is never taken is refused at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads a form body or a query.
    ///
    /// # Errors
    /// When a parameter is given twice.
    pub fn parse(form: &[u8]) -> Result<Params, Error> {
        let mut params = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(form) {
            if params.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Error::invalid("parameter_invalid", &name, "given more than once"));
            }
        }
        Ok(Params(params))
    }

    /// Equal for equal requests, whatever order their parameters were sent in.
    pub fn fingerprint(&self, route: &str) -> String {
        let all = serde_json::to_vec(&(route, &self.0)).expect("strings serialise");
        hex(digest::digest(&digest::SHA256, &all).as_ref())
    }

    /// A parameter that may be left out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Nobody wants any more parameters.
    ///
    /// # Errors
    /// When some are left.
    pub fn finish(self) -> Result<(), Error> {
        match self.0.first_key_value() {
            Some((name, _)) => Err(Error::invalid(
                "parameter_unknown",
                name,
                format!("Received unknown parameter: {name}"),
            )),
            None => Ok(()),
        }
    }

    fn require(&mut self, name: &str) -> Result<String, Error> {
        self.take(name).ok_or_else(|| missing(name))
    }

    fn amount(&mut self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(amount) if (1..=AMOUNT_MAX).contains(&amount) => Ok(Some(amount)),
            Ok(_) | Err(_) => Err(Error::invalid(
                "parameter_invalid_integer",
                name,
                format!("{name} must be an integer from 1 to {AMOUNT_MAX} in minor units"),
            )),
        }
    }

    fn metadata(&mut self) -> Result<Metadata, Error> {
        let mut metadata = Metadata::new();
        while let Some(param) = self.0.keys().find(|name| name.starts_with("metadata[")).cloned() {
            let value = self.require(&param)?;
            let name = param.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
            match name {
                Some(name)
                    if (1..=METADATA_NAME_MAX).contains(&name.len())
                        && value.len() <= METADATA_VALUE_MAX
                        && metadata.len() < METADATA_MAX =>
                {
                    metadata.insert(name.to_owned(), value);
                }
                Some(_) | None => {
                    return Err(Error::invalid("parameter_invalid", &param, "invalid metadata"));
                }
            }
        }
        Ok(metadata)
    }
}

/// `POST /v1/payment_intents`
pub fn authorize(mut params: Params) -> Result<Command, Error> {
    let amount = params.amount("amount")?.ok_or_else(|| missing("amount"))?;
    let currency = params.require("currency")?;
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Error::invalid(
            "parameter_invalid",
            "currency",
            "three lower-case letters of ISO 4217",
        ));
    }
    let method = params.require("payment_method")?;
    let card = Card::named(&method).ok_or_else(|| Error {
        status: 400,
        ..Error::missing("PaymentMethod", "payment_method")
    })?;
    for (name, value) in [("capture_method", "manual"), ("confirm", "true")] {
        if params.require(name)? != value {
            return Err(Error::invalid(
                "parameter_invalid",
                name,
                format!("only `{value}` is supported"),
            ));
        }
    }
    let metadata = params.metadata()?;
    params.finish()?;
    Ok(Command::Authorize {
        amount,
        currency,
        card,
        metadata,
    })
}

/// `POST /v1/payment_intents/{id}/capture`
pub fn capture(payment: String, mut params: Params) -> Result<Command, Error> {
    let amount = params.amount("amount_to_capture")?;
    params.finish()?;
    Ok(Command::Capture { payment, amount })
}

/// `POST /v1/payment_intents/{id}/cancel`
pub fn cancel(payment: String, mut params: Params) -> Result<Command, Error> {
    let reason = params.take("cancellation_reason");
    if reason
        .as_deref()
        .is_some_and(|reason| !CANCELLATION_REASONS.contains(&reason))
    {
        return Err(Error::invalid(
            "parameter_invalid",
            "cancellation_reason",
            "unknown reason",
        ));
    }
    params.finish()?;
    Ok(Command::Cancel { payment, reason })
}

/// `POST /v1/refunds`
pub fn refund(mut params: Params) -> Result<Command, Error> {
    let payment = params.require("payment_intent")?;
    let amount = params.amount("amount")?;
    let metadata = params.metadata()?;
    params.finish()?;
    Ok(Command::Refund {
        payment,
        amount,
        metadata,
    })
}

/// `GET /v1/payment_intents?metadata[order_id]=…`
pub fn order_id(mut params: Params) -> Result<String, Error> {
    let order_id = params.require(&format!("metadata[{ORDER_ID}]"))?;
    params.finish()?;
    Ok(order_id)
}

/// The stored answer as it goes over the wire, the same bytes each time.
pub fn answer(answer: &Answer) -> Result<Value, Error> {
    match &answer.outcome {
        Outcome::Payment => Ok(payment_intent(&answer.payment)),
        Outcome::Refund => Ok(newest_refund(&answer.payment)),
        Outcome::Refused(refusal) => Err(refused(*refusal, &answer.payment)),
    }
}

/// Stripe's PaymentIntent.
pub fn payment_intent(payment: &Payment) -> Value {
    let declined = payment.card.decline().map(card_error);
    let open = if payment.status == Status::RequiresCapture {
        payment.open()
    } else {
        0
    };
    json!({
        "id": payment.id,
        "object": "payment_intent",
        "amount": payment.amount,
        "amount_capturable": open,
        "amount_received": payment.captured,
        "canceled_at": payment.canceled_at.map(|at| at.as_second()),
        "cancellation_reason": payment.cancellation_reason,
        "capture_method": "manual",
        "created": payment.created.as_second(),
        "currency": payment.currency,
        "last_payment_error": declined,
        "livemode": false,
        "metadata": payment.metadata,
        "payment_method": payment.card.name(),
        "status": payment.status,
    })
}

/// Stripe's list, always whole.
pub fn list(url: &str, data: Vec<Value>) -> Value {
    json!({"object": "list", "url": url, "has_more": false, "data": data})
}

/// One line of `GET /v1/ledger`. Not Stripe's: the witness' view of a payment.
pub fn ledger_entry(payment: &Payment) -> Value {
    json!({
        "id": payment.id,
        "order_id": payment.order_id(),
        "payment_method": payment.card.name(),
        "status": payment.status,
        "currency": payment.currency,
        "amount": payment.amount,
        "authorized": payment.authorized,
        "captured": payment.captured,
        "refunded": payment.refunded(),
        "voided": payment.voided,
        "open": payment.open(),
        "captures": payment.captures,
        "refunds": payment.refunds.iter().filter(|refund| !refund.failed).count(),
        "created": payment.created.as_second(),
        "canceled_at": payment.canceled_at.map(|at| at.as_second()),
    })
}

/// The body of a webhook.
pub fn event(pending: &Pending) -> Value {
    let (kind, object) = match pending.notice.kind {
        NoticeKind::Authorized => (
            "payment_intent.amount_capturable_updated",
            payment_intent(&pending.payment),
        ),
        NoticeKind::Declined => ("payment_intent.payment_failed", payment_intent(&pending.payment)),
        NoticeKind::Captured => ("payment_intent.succeeded", payment_intent(&pending.payment)),
        NoticeKind::Canceled => ("payment_intent.canceled", payment_intent(&pending.payment)),
        NoticeKind::Refunded => ("refund.created", newest_refund(&pending.payment)),
        NoticeKind::RefundFailed => ("refund.failed", newest_refund(&pending.payment)),
    };
    json!({
        "id": pending.notice.event,
        "object": "event",
        "created": pending.notice.created.as_second(),
        "livemode": false,
        "type": kind,
        "data": {"object": object},
        "request": {"id": null, "idempotency_key": pending.key},
    })
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn missing(param: &str) -> Error {
    Error::invalid("parameter_missing", param, format!("Missing required param: {param}."))
}

fn newest_refund(payment: &Payment) -> Value {
    let refund = payment
        .refunds
        .last()
        .expect("a refund's answer and webhook hold the payment after it");
    // The payment's metadata shows through, so that a receiver finds its order.
    let metadata: Metadata = payment
        .metadata
        .clone()
        .into_iter()
        .chain(refund.metadata.clone())
        .collect();
    let Refund {
        id,
        created,
        amount,
        failed,
        metadata: _,
    } = refund;
    json!({
        "id": id,
        "object": "refund",
        "amount": amount,
        "created": created.as_second(),
        "currency": payment.currency,
        "failure_reason": failed.then_some("declined"),
        "metadata": metadata,
        "payment_intent": payment.id,
        "status": if *failed { "failed" } else { "succeeded" },
    })
}

fn refused(refusal: Refusal, payment: &Payment) -> Error {
    let (status, mut error) = match refusal {
        Refusal::Declined => (402, card_error(payment.card.decline().unwrap_or("generic_decline"))),
        Refusal::CaptureDeclined => (402, card_error("generic_decline")),
        Refusal::UnexpectedState => {
            let status = json!(payment.status);
            let message = format!("This cannot be done to a PaymentIntent with a status of {status}.");
            (400, invalid_error("payment_intent_unexpected_state", message))
        }
        Refusal::AmountTooLarge { max } => (
            400,
            invalid_error("amount_too_large", format!("At most {max} is possible.")),
        ),
        Refusal::AlreadyRefunded => (
            400,
            invalid_error("charge_already_refunded", "Everything has been refunded.".to_owned()),
        ),
    };
    error["payment_intent"] = payment_intent(payment);
    Error { status, error }
}

fn invalid_error(code: &str, message: String) -> Value {
    json!({"type": "invalid_request_error", "code": code, "message": message})
}

fn card_error(decline_code: &str) -> Value {
    let message = match decline_code {
        "insufficient_funds" => "Your card has insufficient funds.",
        _ => "Your card was declined.",
    };
    json!({"type": "card_error", "code": "card_declined", "decline_code": decline_code, "message": message})
}
