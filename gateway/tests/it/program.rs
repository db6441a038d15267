//! The real program: it starts from its environment, serves at all three ports, and ends when told to.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use mesh_contracts::user::Role;
use mesh_identity::{Client, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use mesh_testkit::free_address;

use crate::site::{Site, eventually, get};

async fn admin(address: SocketAddr, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn it_serves_until_it_is_told_to_end() {
    let site = Site::start().await;
    let [mesh, public, admin_address] = [(); 3].map(|()| free_address());
    let mut program = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .env("TIFFIN_MESH_LISTEN", mesh.to_string())
        .env("TIFFIN_PUBLIC_LISTEN", public.to_string())
        .env("TIFFIN_ADMIN_LISTEN", admin_address.to_string())
        .env("TIFFIN_TLS_DIR", site.bundle("gateway"))
        .env("TIFFIN_UPSTREAMS", site.upstreams())
        .env("TIFFIN_CONSISTENCY_SECRET", crate::site::SECRET)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is ready", || async {
        admin(admin_address, "/readyz").await.starts_with("HTTP/1.1 200")
    })
    .await;

    let client = Client::public(site.authority.cert_pem().as_bytes()).unwrap();
    let mut request = get("/v1/orders/ord_0000000000000000000000001z", &site.token(Role::Customer));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap();
    request.headers_mut().insert("traceparent", traceparent);
    let answer = client
        .request(&Upstream::new("gateway", public.to_string()), request.clone())
        .await;
    assert_eq!(answer.unwrap().status(), 200);
    let passed_on = site.only_call().header("traceparent").unwrap().to_owned();
    assert!(
        passed_on.contains(trace) && !passed_on.contains("b7ad6b7169203331"),
        "{passed_on}"
    );
    let ingress = site.mesh("ingress").client();
    let answer = ingress
        .request(&Upstream::new("gateway", mesh.to_string()), request)
        .await;
    assert_eq!(answer.unwrap().status(), 200);
    let metrics = admin(admin_address, "/metrics").await;
    assert!(metrics.contains("route=\"/v1/orders/{id}\""), "{metrics}");

    let asked = Command::new("kill").arg(program.id().to_string()).status().unwrap();
    assert!(asked.success());
    let ended = tokio::task::spawn_blocking(move || program.wait().unwrap())
        .await
        .unwrap();
    assert!(ended.success(), "{ended}");
}

#[test]
fn its_help_names_every_setting_and_no_value() {
    let help = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--help")
        .env("TIFFIN_CONSISTENCY_SECRET", "do not print this one")
        .output()
        .unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for setting in [
        "TIFFIN_PUBLIC_LISTEN",
        "TIFFIN_UPSTREAMS",
        "TIFFIN_JWT_ISSUER",
        "TIFFIN_HOME_COUNTRY",
    ] {
        assert!(text.contains(setting), "{text}");
    }
    assert!(!text.contains("do not print"));
}

#[test]
fn all_bad_settings_are_reported_at_once() {
    let refused = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .env_clear()
        .env("TIFFIN_PUBLIC_LISTEN", "everywhere")
        .env("TIFFIN_HOME_COUNTRY", "Germany")
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8(refused.stderr).unwrap();
    for setting in [
        "TIFFIN_PUBLIC_LISTEN",
        "TIFFIN_HOME_COUNTRY",
        "TIFFIN_MESH_LISTEN",
        "TIFFIN_TLS_DIR",
    ] {
        assert!(text.contains(setting), "{text}");
    }
}
