//! Mails in secret: TLS in front of the mail server, and an authority that is trusted or not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mesh_contracts::notification::Occasion;
use mesh_testkit::certificates;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::world::{Way, run_over};

/// Ends TLS with the certificate of a folder and passes everything on; gives its own address.
async fn wrapping(folder: &Path, smtp: SocketAddr) -> SocketAddr {
    mesh_identity::install_crypto_provider();
    let chain = CertificateDer::pem_file_iter(folder.join("tls.crt")).expect("a file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, key).expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.expect("a listener accepts");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(connection).await.ok()?;
                let mut inside = TcpStream::connect(smtp).await.ok()?;
                copy_bidirectional(&mut outside, &mut inside).await.ok()
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_goes_out_over_tls_to_who_proves_to_be_the_mailer() {
    let folder = certificates::bundle("sandbox-mail");
    let way = async |smtp| Way {
        address: wrapping(&folder, smtp).await,
        tls: "wrapped",
        ca_file: Some(folder.join("ca.crt")),
    };
    run_over(way, async |world| {
        let job = world.job(world.anna(), Occasion::Paid);
        assert_eq!(world.outcome(&job).await, "sent");
        world.post.mail("anna@example.org").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_who_does_not_prove_it_nor_in_plain_text() {
    let folder = certificates::bundle("sandbox-mail");
    for (tls, trusted) in [("wrapped", false), ("starttls", true)] {
        let way = async |smtp| Way {
            // The stand-in offers no STARTTLS, as somebody in between might pretend.
            address: if trusted { smtp } else { wrapping(&folder, smtp).await },
            tls,
            ca_file: trusted.then(|| folder.join("ca.crt")),
        };
        run_over(way, async |world| {
            let job = world.job(world.anna(), Occasion::Paid);
            world.ask(&job).await;
            world.in_hand(1).await;
            world.has_logged("mail server unavailable").await;
            assert_eq!(world.post.mails("anna@example.org").await, []);
            assert_eq!(world.events(&job).await, []);
            // It would wait forever.
            world.drop_queue().await;
        })
        .await;
    }
}
