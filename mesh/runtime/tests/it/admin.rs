//! The admin port tells the truth about readiness.

use axum::body::Body;
use axum::extract::Request;
use http::StatusCode;
use mesh_runtime::Shutdown;
use mesh_runtime::admin::{self, Ready};
use tower::ServiceExt as _;

async fn status(ready: &Ready, shutdown: &Shutdown, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    admin::router(ready.clone(), shutdown.clone())
        .oneshot(request)
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn ready_means_every_condition_holds_and_nobody_ends_us() {
    let (ready, shutdown) = (Ready::new(&["postgres", "nats"]), Shutdown::new());
    assert_eq!(status(&ready, &shutdown, "/livez").await, StatusCode::OK);
    assert_eq!(status(&ready, &shutdown, "/metrics").await, StatusCode::OK);
    assert_eq!(
        status(&ready, &shutdown, "/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );

    ready.set("postgres", true);
    assert_eq!(
        status(&ready, &shutdown, "/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    ready.set("nats", true);
    assert_eq!(status(&ready, &shutdown, "/readyz").await, StatusCode::OK);
    ready.set("nats", false);
    assert_eq!(
        status(&ready, &shutdown, "/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );

    ready.set("nats", true);
    shutdown.trigger();
    assert_eq!(
        status(&ready, &shutdown, "/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
