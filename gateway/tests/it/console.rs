//! The operators' page in a real browser: what it shows, that it shows it live, and that it says when it does not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_runtime::json::Json;
use mesh_testkit::Browser;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::site::{Site, eventually};

/// Twice a second, so that only silence on purpose is silence.
const BEAT: Duration = Duration::from_millis(500);

/// What the page promises.
const SAYS_WITHIN_MS: f64 = 5_000.0;

/// order-info's board, as the test says.
#[derive(Clone)]
struct BoardStream {
    news: broadcast::Sender<String>,
    /// No sign of life any more, on connections that stay open.
    mute: Arc<Mutex<bool>>,
}

impl BoardStream {
    fn of(site: &Site, greeting: String) -> Self {
        let (news, _) = broadcast::channel(64);
        let mute = Arc::<Mutex<bool>>::default();
        let stream = Self { news, mute };
        let board = stream.clone();
        site.answer("order-info", move |call| {
            let greeting = match call.header("last-event-id") {
                Some(_) => ":\n\n".to_owned(),
                None => greeting.clone(),
            };
            let first = (!*board.mute.lock().unwrap()).then_some(greeting);
            let news = futures::stream::unfold(board.news.subscribe(), |mut news| async move {
                let text = news.recv().await.ok()?;
                (text != "end").then(|| (Ok(Bytes::from(text)), news))
            });
            let first = futures::stream::iter(first.map(|text| Ok::<_, std::io::Error>(Bytes::from(text))));
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(Body::from_stream(futures::StreamExt::chain(first, news)))
                .unwrap()
        });
        let beating = stream.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                if !*beating.mute.lock().unwrap() {
                    // Nobody may be listening.
                    let _ = beating.news.send(":\n\n".into());
                }
            }
        });
        stream
    }

    fn say(&self, event: &str, data: &Value, id: Option<&str>) {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        self.news
            .send(format!("{id}event: {event}\ndata: {data}\n\n"))
            .expect("somebody listens");
    }

    fn set_mute(&self, mute: bool) {
        *self.mute.lock().unwrap() = mute;
    }
}

fn let_in(site: &Site) {
    let (jwks, operator) = (site.issuer().jwks(), site.token(Role::Operator));
    site.answer("user-master", move |call| match call.path.as_str() {
        "/jwks" => Json(jwks.clone()).into_response(),
        "/sessions" if call.json()["password"] == "right" => Json(json!({
            "access_token": operator, "expires_in_s": 600, "refresh_token": "r", "user": UserId::new_v7(),
            "role": "operator", "food_points": [],
        }))
        .into_response(),
        _ => crate::site::refusal(401, "credentials_wrong"),
    });
}

const MITTE: &str = "pnt_00000000000000000000000001";
const ANNA: &str = "cou_00000000000000000000000001";

fn snapshot() -> String {
    let place = |lat_e6: i32, lon_e6: i32| json!({ "lat_e6": lat_e6, "lon_e6": lon_e6 });
    let point = |id: &str, name: &str, country: &str, at: Value, open: bool, busy: u8| {
        json!({ "kind": "kitchen", "id": id, "name": name, "country": country, "at": at, "open": open,
            "closed_by": if open { Value::Null } else { json!("staff") }, "busy": busy, "pool": 8 })
    };
    let documents = json!([
        point(MITTE, "Mitte", "DE", place(52_520_800, 13_409_400), true, 4),
        point("pnt_00000000000000000000000002", "Moabit", "DE", place(52_525_600, 13_342_500), false, 0),
        // A name is text, whatever is in it.
        point("pnt_00000000000000000000000003", "<img src=x onerror=alert(1)>", "RS", place(44_817_000, 20_460_000), true, 0),
        { "kind": "courier", "id": ANNA, "status": "on", "jobs": 1 },
    ]);
    let counts = json!({ "created": 1, "paid": 2, "assigned": 3, "ready": 0, "in_delivery": 4 });
    let data = json!({ "stamp": "7-1-a", "counts": counts, "documents": documents });
    format!("id: 7-1-a\nevent: snapshot\ndata: {data}\n\n")
}

/// The text of what a selector finds.
async fn text(browser: &Browser, css: &str) -> String {
    let script = format!("return document.querySelector({css:?})?.textContent ?? ''");
    browser.run(&script).await.as_str().unwrap().to_owned()
}

async fn shows(browser: &Browser, css: &str, expected: &str) {
    eventually(&format!("{css} shows {expected}"), || async {
        text(browser, css).await == expected
    })
    .await;
}

/// Every state that the link was said to have, with the page's own time in ms.
async fn states(browser: &Browser) -> Vec<(String, f64)> {
    serde_json::from_value(browser.run("return window.states").await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_board_live_and_says_when_it_does_not() {
    let Some(browser) = Browser::start().await else { return };
    let site = Site::start().await;
    let_in(&site);
    let board = BoardStream::of(&site, snapshot());
    browser.size(1280, 900).await;
    browser.go(&format!("https://{}/console", site.public_address)).await;
    browser.fill("#email", "op@tiffin.local").await;
    browser.fill("#password", "wrong").await;
    browser.click("#login button").await;
    shows(&browser, "#refused", "E-mail or password is wrong.").await;
    let refused = browser.complaints().await;
    assert!(refused.iter().all(|said| said.contains("401")), "{refused:?}");
    browser.run("document.querySelector('#password').value = ''").await;
    browser.fill("#password", "right").await;
    browser.click("#login button").await;
    shows(&browser, "#link", "Live").await;

    // What the snapshot says.
    shows(&browser, "#orders [data-status=assigned] b", "3").await;
    assert_eq!(text(&browser, "#orders-total").await, "10");
    assert_eq!(text(&browser, "#points-total").await, "3");
    assert_eq!(text(&browser, "#couriers-busy").await, "1");
    assert_eq!(text(&browser, "#points li small").await, "4 of 8");
    let marks = "return document.querySelectorAll('#map [data-kind=kitchen]').length";
    assert_eq!(browser.run(marks).await, 2, "one area at a time");

    // What changes.
    let order = |was: Value, is: Value| json!({ "kind": "order", "stream": "ord_1", "version": 3, "at": "2026-01-01T00:00:00Z", "was": was, "is": is });
    board.say(
        "change",
        &order(json!({ "status": "paid" }), json!({ "status": "assigned" })),
        Some("7-2-a"),
    );
    board.say(
        "change",
        &order(json!({ "status": "in_delivery" }), Value::Null),
        Some("7-3-a"),
    );
    shows(&browser, "#orders [data-status=assigned] b", "4").await;
    shows(&browser, "#orders-total", "9").await;
    board.say("positions", &json!([{ "courier": ANNA, "place": { "lat_e6": 52_510_000, "lon_e6": 13_400_000 }, "at": "2026-01-01T00:00:00Z" }]), None);
    shows(&browser, "#couriers-seen", "1").await;
    shows(&browser, "#map [data-kind=courier] title", "Courier with 1 job").await;
    let letter = json!({ "consumer": "order-info", "stream": "ord_2", "event_type": "order.paid", "error": "<b>bad</b>", "at": "2026-01-01T00:00:00Z" });
    board.say(
        "health",
        &json!({ "behind": { "menu-info": 12 }, "lag": 12, "dead_letters": 1, "newest": [letter] }),
        None,
    );
    shows(&browser, "#lag", "12").await;
    shows(&browser, "#dead", "1").await;
    assert!(text(&browser, "#letters").await.contains("<b>bad</b>"), "as text");
    assert_eq!(
        browser
            .run("return document.querySelectorAll('main img, #letters b').length")
            .await,
        0
    );

    // Narrow and wide, nothing sticks out.
    for width in [360, 768, 1280] {
        browser.size(width, 800).await;
        let sticks_out = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(sticks_out).await, 0, "at {width} px");
    }

    // A link that is broken, and one that only says nothing any more.
    browser
        .run(
            "window.states = []; new MutationObserver(() => \
             window.states.push([document.querySelector('#link').dataset.state, performance.now()]))\
             .observe(document.querySelector('#link'), { attributes: true })",
        )
        .await;
    board.news.send("end".into()).unwrap();
    eventually("it says so and comes back", || async {
        let states = states(&browser).await;
        let mut said = states.iter().map(|(state, _)| state.as_str());
        said.any(|state| state == "lost") && said.any(|state| state == "live")
    })
    .await;
    let resumed = site.calls().into_iter().rfind(|call| call.path == "/ops/live").unwrap();
    assert_eq!(resumed.header("last-event-id"), Some("7-3-a"));

    board.set_mute(true);
    let silent_from = browser
        .run("window.states = []; return performance.now()")
        .await
        .as_f64()
        .unwrap();
    let started = Instant::now();
    let lost_at = loop {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it never says that the link is lost"
        );
        if let Some((_, at)) = states(&browser).await.iter().find(|(state, _)| state == "lost") {
            break *at;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(
        lost_at - silent_from <= SAYS_WITHIN_MS,
        "after {} ms",
        lost_at - silent_from
    );
    board.set_mute(false);
    shows(&browser, "#link", "Live").await;
    board.say(
        "change",
        &order(Value::Null, json!({ "status": "created" })),
        Some("7-4-a"),
    );
    shows(&browser, "#orders-total", "10").await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test]
async fn the_page_runs_its_own_script_alone_and_talks_to_us_alone() {
    let site = Site::start().await;
    let get = |path: &str| http::Request::get(path).body(Bytes::new()).unwrap();
    let page = site.public().send(get("/console")).await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (StatusCode::OK, Some("no-store"))
    );
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for (path, kind) in [
        ("/console/script.js", "text/javascript"),
        ("/console/style.css", "text/css"),
    ] {
        assert!(text.contains(path), "{path}");
        let part = site.public().send(get(path)).await;
        assert!(part.header("content-type").unwrap().starts_with(kind), "{path}");
    }
    for outside in ["https://", "http://", "style=", "onclick"] {
        assert!(!text.contains(outside), "{outside}");
    }
}
