//! Certificates change under a running service.

use jiff::SignedDuration;
use mesh_identity::ca::{self, Authority};
use mesh_identity::{Client, ClientError, Mesh};

use crate::handshake::answer_without_certificate;
use crate::site::{RELOAD_DEADLINE, Server, Site, corrupt, eventually, routes, serve};

/// A client that trusts only `authority`, to tell which certificate the server shows.
async fn trusts(site: &Site, authority: &Authority, server: &Server) -> bool {
    let issued = site
        .authority
        .issue("gateway", &[], SignedDuration::from_hours(1))
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    authority.write_issued(dir.path(), &issued).unwrap();
    let client = Mesh::load(dir.path(), "gateway").unwrap().client();
    match client
        .get_json::<String>(&server.as_service("order-master"), "/guarded")
        .await
    {
        // Trusted; whether it trusts us back is another matter.
        Ok(_) | Err(ClientError::Broken { .. }) => true,
        Err(ClientError::Connect { .. } | ClientError::Timeout { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_keeps_asking_for_the_clients() {
    let site = Site::new();
    let bundle = site.bundle("order-master");
    let server = serve(Mesh::load(&bundle, "order-master").unwrap().server(), routes()).await;
    let next = Authority::create(&site.dir.path().join("next-ca")).unwrap();
    eventually("the first call", RELOAD_DEADLINE, || {
        trusts(&site, &site.authority, &server)
    })
    .await;
    assert!(!trusts(&site, &next, &server).await);

    // The server moves to a certificate of the next authority and still trusts the first.
    let issued = next.issue("order-master", &[], SignedDuration::from_hours(1)).unwrap();
    site.authority.write_issued(&bundle, &issued).unwrap();

    eventually("the reload", RELOAD_DEADLINE, || trusts(&site, &next, &server)).await;
    assert!(
        !trusts(&site, &site.authority, &server).await,
        "the old certificate is gone"
    );
    let next_site = Site {
        dir: tempfile::tempdir().unwrap(),
        authority: next,
    };
    assert!(
        answer_without_certificate(&next_site, &server).await.is_none(),
        "client authentication stays"
    );
}

#[tokio::test]
async fn a_broken_file_leaves_the_old_certificate_in_place() {
    let site = Site::new();
    let bundle = site.bundle("order-master");
    let server = serve(Mesh::load(&bundle, "order-master").unwrap().server(), routes()).await;
    let next = Authority::create(&site.dir.path().join("next-ca")).unwrap();

    corrupt(&bundle.join("tls.crt"));
    // Two polls see the broken file.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    eventually("the call after", RELOAD_DEADLINE, || {
        trusts(&site, &site.authority, &server)
    })
    .await;
    assert!(
        answer_without_certificate(&site, &server).await.is_none(),
        "client authentication stays"
    );

    let issued = next.issue("order-master", &[], SignedDuration::from_hours(1)).unwrap();
    site.authority.write_issued(&bundle, &issued).unwrap();
    eventually("the repair", RELOAD_DEADLINE, || trusts(&site, &next, &server)).await;
}

#[tokio::test]
async fn a_client_shows_its_new_certificate() {
    let site = Site::new();
    let server = serve(site.mesh("order-master").server(), routes()).await;
    let expired = site
        .authority
        .issue("gateway", &[], SignedDuration::from_mins(-5))
        .unwrap();
    let bundle = site.dir.path().join("gateway");
    site.authority.write_issued(&bundle, &expired).unwrap();
    let client = Mesh::load(&bundle, "gateway").unwrap().client();
    let upstream = server.as_service("order-master");
    assert!(client.get_json::<String>(&upstream, "/guarded").await.is_err());

    site.bundle("gateway");
    eventually("the new certificate", RELOAD_DEADLINE, || async {
        client.get_json::<String>(&upstream, "/guarded").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_client_of_a_public_door_follows_its_roots_and_sees_what_is_shown() {
    let site = Site::new();
    let bundle = site.bundle("gateway");
    let server = serve(mesh_identity::mesh::public(&bundle).unwrap(), routes()).await;
    let upstream = server.as_service("gateway");
    let next = Authority::create(&site.dir.path().join("next-ca")).unwrap();
    let roots = site.dir.path().join("roots");
    ca::write_trusted(&roots, &[&next]).unwrap();
    let client = Client::public_following(&roots).unwrap();
    assert!(client.meet(&upstream).await.is_err(), "it trusts another one");

    ca::write_trusted(&roots, &[&next, &site.authority]).unwrap();
    eventually("both are trusted", RELOAD_DEADLINE, || async {
        client.meet(&upstream).await.is_ok()
    })
    .await;
    let described = ca::describe(&bundle).unwrap();
    assert_eq!(client.meet(&upstream).await.unwrap(), described.der);
    assert!(described.until > jiff::Timestamp::now());
}

#[tokio::test]
async fn nobody_is_met_who_does_not_take_our_certificate() {
    let site = Site::new();
    let server = serve(site.mesh("order-master").server(), routes()).await;
    let upstream = server.as_service("order-master");
    assert!(site.mesh("gateway").client().meet(&upstream).await.is_ok());

    // It trusts the server, and not the other way round.
    let stranger = Site::new();
    let bundle = stranger.bundle("gateway");
    ca::write_trusted(&bundle, &[&site.authority]).unwrap();
    let client = Mesh::load(&bundle, "gateway").unwrap().client();
    assert!(client.meet(&upstream).await.is_err());
}
