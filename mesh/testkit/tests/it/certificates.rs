use mesh_identity::Mesh;
use mesh_testkit::certificates;

#[tokio::test]
async fn a_service_gets_its_own_identity_and_no_other() {
    assert_eq!(certificates::mesh("order-master").service(), "order-master");
    let theirs = certificates::bundle("basket-master");
    Mesh::load(&theirs, "order-master")
        .err()
        .expect("another's certificate is no identity");
}

#[tokio::test]
async fn certificates_to_be_refused_can_still_be_presented() {
    for folder in [
        certificates::expired("order-info"),
        certificates::of_another_authority("order-info"),
    ] {
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            assert!(folder.join(file).exists(), "{file} is missing");
        }
    }
}
